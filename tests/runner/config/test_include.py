"""Several files make one configuration, and everything that is said of them names the right one."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from runner.cli.validate import command
from runner.config import document, include
from runner.config.errors import PlanError
from runner.config.plan import Plan
from runner.config.read import read_plan
from runner.service.reload import Reload

TCP = "{kind: tcp, host: localhost, port: 1}"


def written(folder: Path, **files: str) -> Path:
    """Writes files, `a__b` as a/b.yaml, and returns checks.yaml."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "checks.yaml"


def names(file: Path) -> list[str]:
    """Lists the checks of the plan."""
    return [one.check.name for one in read_plan(file, environ={}).checks]


def wrong(file: Path) -> list[str]:
    """Reads a wrong configuration, and returns the lines about it."""
    with pytest.raises(PlanError) as error:
        read_plan(file, environ={})
    return str(error.value).replace(f"{file.parent}/", "").splitlines()[:-1]


def test_checks_targets_and_slos_of_all_files_are_one_plan(tmp_path: Path) -> None:
    """Own checks come first, then those of each file in the order of include; a pattern's files are in the order of their names."""
    file = written(
        tmp_path,
        checks=f"version: 1\ninclude: [team/z.yaml, 'd/*.yaml', slos.yaml]\nchecks: {{own: {TCP}}}\n",
        team__z="checks:\n  z: {kind: http, target: api, path: /, slos: [p95]}\n",
        d__b=f"checks: {{b: {TCP}}}",
        d__a=f"version: 1\ntargets: {{api: {{url: 'http://localhost'}}}}\nchecks: {{a: {TCP}}}",
        slos="slos: {p95: {objective: 95%, threshold: 1s}}\nx-note: ignored\n",
    )
    assert names(file) == ["own", "z", "a", "b"]
    plan = read_plan(file, environ={})
    assert {one.check.name: (one.check.file, one.check.line) for one in plan.checks} == {
        "own": ("", 3),
        "z": ("team/z.yaml", 2),
        "a": ("d/a.yaml", 3),
        "b": ("d/b.yaml", 1),
    }
    assert [one.check.place("conf/checks.yaml") for one in plan.checks][:2] == ["conf/checks.yaml:3", "conf/team/z.yaml:2"]
    assert set(plan.files) == {tmp_path / one for one in ("team/z.yaml", "d/a.yaml", "d/b.yaml", "slos.yaml", "d")}


def test_a_path_starts_at_the_including_file(tmp_path: Path) -> None:
    """An included file includes its neighbour by name, and a file above it by `..`; a folder means its .yaml and .yml files."""
    file = written(
        tmp_path,
        conf__checks="version: 1\ninclude: sub/a.yaml",
        conf__sub__a=f"include: [b.yaml, ../../more/]\nchecks: {{a: {TCP}}}",
        conf__sub__b=f"checks: {{b: {TCP}}}",
        more__c=f"checks: {{c: {TCP}}}",
    ).parent
    (tmp_path / "more" / "d.yml").write_text(f"checks: {{d: {TCP}}}")
    (tmp_path / "more" / "readme.md").write_text("# no checks")
    assert names(file / "conf" / "checks.yaml") == ["a", "b", "c", "d"]


def test_an_error_names_its_file_with_line_and_column(tmp_path: Path) -> None:
    """Mistakes of YAML, of settings and of values of all files are told at once, each where it is written."""
    file = written(
        tmp_path,
        checks="version: 1\ninclude: [a.yaml, b.yaml]\nchecks: {own: {kind: htp}}",
        a="checks:\n  a: {kind: tcp, host: localhost, port: 1, timeout: 5}\n",
        b="checks:\n  b: {kind: http, url: '${NOT_SET}'}\n",
    )
    assert wrong(file) == [
        "checks.yaml:3:22  checks.own.kind: no such kind: htp; did you mean http?" + wrong(file)[0].partition("http?")[2],
        "a.yaml:2:53       checks.a.timeout: 5 has no unit; write 5s",
        "b.yaml:2:25       checks.b.url: NOT_SET is not set; export it, or write ${NOT_SET:-default}",
    ]
    written(tmp_path, a="checks:\n  a: [", b="\tchecks: {}")
    assert [line.partition("  ")[0] for line in wrong(file)] == ["a.yaml:3:1", "b.yaml:1:1"]


def test_a_name_that_is_written_twice_points_at_both_places(tmp_path: Path) -> None:
    """Of checks, targets and SLOs; and a key that can stand in one file only."""
    file = written(
        tmp_path,
        checks=f"version: 1\ninclude: [team/a.yaml, b.yaml]\nservice: one\nchecks:\n  api: {TCP}\n",
        team__a=f"service: two\ntargets: {{t: {{url: 'http://localhost'}}}}\nchecks:\n\n  api: {TCP}\n",
        b="version: 2\ntargets: {t: {url: 'http://localhost'}}\n",
    )
    assert wrong(file) == [
        "b.yaml:1:10      version: must be 1, as in checks.yaml",
        "b.yaml:2:11      targets.t: is written twice; the first is at team/a.yaml:2:11",
        "team/a.yaml:1:1  service: is written twice; the first is at checks.yaml:3:1",
        "team/a.yaml:5:3  checks.api: is written twice; the first is at checks.yaml:5:3",
    ]


def test_a_ring_of_files_is_an_error_and_a_shared_file_is_read_once(tmp_path: Path) -> None:
    """A pattern passes over the file that holds it; a path back to it is told with the whole ring."""
    file = written(
        tmp_path,
        checks=f"version: 1\ninclude: '*.yaml'\nchecks: {{own: {TCP}}}",
        a="include: shared.yaml",
        b="include: shared.yaml",
        shared=f"checks: {{shared: {TCP}}}",
    )
    assert names(file) == ["own", "shared"]
    written(tmp_path, shared=f"include: b.yaml\nchecks: {{shared: {TCP}}}")
    assert wrong(file) == ["b.yaml:1:10  include: includes itself: shared.yaml -> b.yaml -> shared.yaml"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing.yaml", "there is no such file: nothing.yaml"),
        ("tema.yaml", "there is no such file: tema.yaml; did you mean team.yaml?"),
        ("'d/*.yml'", "no file is at d/*.yml"),
        ("empty/", "no file is at empty"),
        ("${TEAM}.yaml", "can't come from a variable; write the path of a file or a folder, or a pattern such as checks.d/*.yaml"),
        ("[[a]]", "must be a path, or a list of paths; write the path of a file or a folder, or a pattern such as checks.d/*.yaml"),
        ("5", "must be a path, or a list of paths; write the path of a file or a folder, or a pattern such as checks.d/*.yaml"),
        ("pipe.yaml", "pipe.yaml is no regular file"),
        ("'links/*.yaml'", "links/out.yaml is a link out of links, to ROOT/team.yaml; write that path if it is meant"),
    ],
)
def test_what_can_not_be_included_is_told_where_it_is_written(tmp_path: Path, text: str, said: str) -> None:
    """With the path, and what to write; a link doesn't lead a pattern out of its folder."""
    file = written(tmp_path, checks=f"version: 1\ninclude: {text}\nchecks: {{own: {TCP}}}", team="checks: {}", d__a="checks: {}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "out.yaml").symlink_to("../team.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(PlanError) as error:
        read_plan(file, environ={})
    (only,) = error.value.problems
    assert only.message == said.replace("ROOT", os.path.realpath(tmp_path))
    assert (only.at.line, only.at.column >= 10, only.path) == (2, True, ("include",))


def test_files_are_bounded_in_number_and_depth(tmp_path: Path) -> None:
    """A thousand files and ten levels are read; beyond them the include is an error, not a runner without memory."""
    chain = {f"n{number}": f"include: n{number + 1}.yaml" for number in range(12)}
    file = written(tmp_path, checks="version: 1\ninclude: n0.yaml", n12="checks: {}", **chain)
    assert "n10.yaml is included by files that include one another more than 10 deep" in wrong(file)[0]
    many = written(tmp_path / "many", checks="version: 1\ninclude: d/")
    (tmp_path / "many" / "d").mkdir()
    for number in range(include.MOST_FILES + 1):
        (tmp_path / "many" / "d" / f"{number:04}.yaml").write_text("x-a: b")
    assert "d/1000.yaml is one too many: 1,000 files may be included" in wrong(many)[0]


def test_deeper_folders_and_hidden_names(tmp_path: Path) -> None:
    """`**` goes into folders, also through a link that stays inside; a ring of links ends; hidden files and folders never match."""
    file = written(
        tmp_path,
        checks="version: 1\ninclude: d/**/*.yaml",
        d__a=f"checks: {{a: {TCP}}}",
        d__x__y__b=f"checks: {{b: {TCP}}}",
        d__h=f"checks: {{h: {TCP}}}",
    )
    (tmp_path / "d" / "h.yaml").rename(tmp_path / "d" / ".h.yaml")
    (tmp_path / "d" / "x" / "ring").symlink_to("..")
    assert names(file) == ["a", "b"]


def test_programs_and_github_get_the_file_that_is_wrong(tmp_path: Path) -> None:
    """U23: `validate --json` and `--github` name the included file."""
    file = written(tmp_path, checks="version: 1\ninclude: d/a.yaml", d__a="checks:\n  a: {kind: tcp}\n")
    ended = CliRunner().invoke(command, ["--config", str(file), "--json", "--github"], env={"GITHUB_WORKSPACE": str(tmp_path)})
    text, _, annotations = ended.stdout.partition("\n}\n")
    told: dict[str, Any] = json.loads(text + "}")
    assert {(one["path"], one["line"]) for one in told["errors"]} == {(str(tmp_path / "d/a.yaml"), 2)}
    assert annotations.startswith("::error file=d/a.yaml,line=2,col=3,")


class Files:
    """A reload that looks at real files."""

    def __init__(self, file: Path) -> None:
        self.plan = read_plan(file, environ={})
        self.told: list[bool] = []

        async def apply(plan: Plan) -> None:
            self.plan = plan

        self.reload = Reload(
            path=file,
            load=lambda: read_plan(file, environ={}),
            apply=apply,
            report=self.told.append,
            time=lambda: 1000.0,
            files=lambda: self.plan.files,
            log=lambda *_: None,
        )

    async def looked(self) -> list[str]:
        """The checks after some looks."""
        for _ in range(4):
            await self.reload.look()
        return [one.check.name for one in self.plan.checks]


async def test_a_reload_sees_files_change_appear_and_go(tmp_path: Path) -> None:
    """By content and by name: an edit, a new file in a folder, a file that is mended while it isn't in use yet, a file that is gone."""
    file = await asyncio.to_thread(
        lambda: written(tmp_path, checks=f"version: 1\ninclude: d/\nchecks: {{own: {TCP}}}", d__a=f"checks: {{a: {TCP}}}")
    )
    found = await asyncio.to_thread(Files, file)
    assert await found.looked() == ["own", "a"]
    await asyncio.to_thread(written, tmp_path, d__a=f"checks: {{a2: {TCP}}}")
    assert await found.looked() == ["own", "a2"]
    await asyncio.to_thread(written, tmp_path, d__b="checks: {b: {kind: tcp}}")
    assert (await found.looked(), found.told) == (["own", "a2"], [True, False])
    assert found.reload.refused
    assert "d/b.yaml:1:10" in found.reload.refused.errors[0]
    await asyncio.to_thread(written, tmp_path, d__b=f"checks: {{b: {TCP}}}")
    assert await found.looked() == ["own", "a2", "b"]
    await asyncio.to_thread((tmp_path / "d" / "a.yaml").unlink)
    assert (await found.looked(), found.told) == (["own", "b"], [True, False, True, True])


def _mounted(folder: Path, version: str, text: str) -> None:
    """A version of a ConfigMap, as the kubelet writes it: files are links through ..data, and one rename switches them all."""
    (folder / f"..{version}").mkdir(parents=True)
    (folder / f"..{version}" / "a.yaml").write_text(text)
    (folder / "..new").symlink_to(f"..{version}")
    (folder / "..new").rename(folder / "..data")
    if not (folder / "a.yaml").is_symlink():
        (folder / "a.yaml").symlink_to("..data/a.yaml")


async def test_a_config_map_that_is_switched_is_a_change(tmp_path: Path) -> None:
    """Each file of it is read once, though its hidden folders hold it again."""
    await asyncio.to_thread(_mounted, tmp_path / "d", "one", f"checks: {{a: {TCP}}}")
    file = await asyncio.to_thread(lambda: written(tmp_path, checks="version: 1\ninclude: ['d/*.yaml']"))
    found = await asyncio.to_thread(Files, file)
    assert await found.looked() == ["a"]
    await asyncio.to_thread(_mounted, tmp_path / "d", "two", f"checks: {{b: {TCP}}}")
    assert await found.looked() == ["b"]


def test_one_large_file_is_refused(tmp_path: Path) -> None:
    """More than 16 MB are not read."""
    file = written(tmp_path, checks="version: 1\ninclude: large.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (document.LARGEST_FILE + 1))
    assert wrong(file)[0] == "large.yaml  larger than 16 MB; a file of checks is never that large"
