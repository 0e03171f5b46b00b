"""Targets from files in Prometheus' form: each makes a check, and a file that is wrong stops nothing that runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.errors import PlanError
from runner.config.live import LiveConfiguration
from runner.config.plan import Plan
from runner.config.read import read_plan
from runner.config.target_files import TargetFiles
from runner.service.reload import Reload, Targets

NODE = """version: 1
checks:
  node:
    for_each: {file_sd: FILES}
    kind: tcp
    host: ${each.host}
    port: ${each.port:-9100}
    tags: ["${each.labels.team:-nobody}"]
  own: {kind: tcp, host: localhost, port: 1}
"""


def written(folder: Path, files: str = "['t/*.json', 't/*.yml']", **lists: Any) -> Path:
    """Writes checks.yaml, and lists into files of JSON, or texts into files of YAML."""
    (folder / "t").mkdir(exist_ok=True)
    for name, held in lists.items():
        ending, text = ("yml", held) if isinstance(held, str) else ("json", json.dumps(held))
        (folder / "t" / f"{name}.{ending}").write_text(text)
    file = folder / "checks.yaml"
    file.write_text(NODE.replace("FILES", files))
    return file


def group(*targets: str, **labels: str) -> list[dict[str, Any]]:
    """A list of one group."""
    return [{"targets": list(targets), "labels": labels}]


def names(plan: Plan) -> list[str]:
    """Lists the checks of a plan."""
    return [one.check.name for one in plan.checks]


def wrong(file: Path) -> list[str]:
    """Reads a wrong configuration, and returns the lines about it."""
    with pytest.raises(PlanError) as error:
        read_plan(file, environ={})
    return str(error.value).replace(f"{file.parent}/", "").splitlines()[:-1]


def test_prometheus_files_serve_as_they_are(tmp_path: Path) -> None:
    """JSON and YAML, several groups, hosts with and without a port, URLs and IPv6; labels stand where they are written."""
    file = written(
        tmp_path,
        a=[*group("10.0.0.1:9100", "db", team="web", __scheme__="https"), {"targets": ["http://x.example.com:8080/health"]}],
        b="# written by hand\n- targets: ['[2001:db8::1]:9100', 'db']\n  labels: {team: web, __scheme__: https}\n",
    )
    plan = read_plan(file, environ={})
    assert names(plan) == ["node-10-0-0-1-9100", "node-db", "node-x-example-com-8080-health", "node-2001-db8-1-9100", "own"]
    by_name = {one.check.name: one.check for one in plan.checks}
    assert [by_name[name].address for name in names(plan)[:4]] == ["10.0.0.1:9100", "db:9100", "x.example.com:8080", "[2001:db8::1]:9100"]
    assert (by_name["node-db"].tags, by_name["node-x-example-com-8080-health"].tags) == (("web",), ("nobody",))
    assert [by_name[name].place("checks.yaml") for name in ("node-10-0-0-1-9100", "node-2001-db8-1-9100")] == [
        "checks.yaml:4",
        "t/b.yml:2",
    ]
    assert {tmp_path / "t", tmp_path / "t" / "a.json", tmp_path / "t" / "b.yml"} <= set(plan.files)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "[{]", "t/a.json:1:3  is no JSON: Expecting property name enclosed in double quotes"),
        ("a.json", "", "checks.yaml:4:26  checks.node.for_each.file_sd: t/a.json is empty; an empty list is []"),
        ("a.yml", "# nothing\n", "checks.yaml:4:38  checks.node.for_each.file_sd: t/a.yml is empty; an empty list is []"),
        ("a.yml", "targets: [x]", "t/a.yml:1:1  must be a list; write a list of {targets: [...], labels: {...}}"),
        ("a.yml", "- [x]", "t/a.yml:1:3  item 1: is no group of targets; write a list of {targets: [...], labels: {...}}"),
        ("a.yml", "- {targets: x}", "t/a.yml:1:3  item 1: is no group of targets; write a list of {targets: [...], labels: {...}}"),
        ("a.yml", "- {targets: [x], more: y}", "t/a.yml:1:3  item 1: is no group of targets"),
        ("a.yml", "- {targets: [x], labels: {a b: c}}", "t/a.yml:1:3  item 1, labels: has a label that is no name, or more than 64"),
        ("a.yml", "- targets:\n  - 5", "t/a.yml:2:5  item 1: must be a text of at most 1,000 characters"),
        ("a.yml", "- targets: ['${SECRET}']", "t/a.yml:1:13  item 1: must be a text of at most 1,000 characters, without {"),
        ("a.yml", "- targets: [x]\n  labels: {a: '{{token}}'}", "t/a.yml:2:15  item 1: must be a text"),
        ("a.yml", "- targets: ['---']", "checks.yaml:4:25  checks.node.for_each.file_sd: a target of t/a.yml has no letter and no digit"),
        ("a.yml", "- targets: [a.b, a-b]", "t/a.yml:1:18  checks.node.for_each: makes node-a-b, which is written twice; the first is at"),
        (
            "a.yml",
            "- targets: [x]\n- {targets: [x], labels: {a: b}}",
            "checks.yaml:4:38  checks.node.for_each.file_sd: x has other labels in t/a.yml:2:14 than in t/a.yml:1:13",
        ),
    ],
)
def test_a_wrong_file_is_an_error_with_its_place(tmp_path: Path, name: str, text: str, said: str) -> None:
    """For validate, gate and probe; nobody who writes such a file can have a variable or a captured value filled in."""
    file = written(tmp_path)
    (tmp_path / "t" / name).write_text(text)
    assert any(line.startswith(said) for line in wrong(file)), wrong(file)


def test_a_pattern_may_mean_no_file_and_a_named_file_must_be_there(tmp_path: Path) -> None:
    """A machine without targets yet is no error; a file that is misspelt is one."""
    assert names(read_plan(written(tmp_path), environ={})) == ["own"]
    assert wrong(written(tmp_path, "t/b.json", a=group("x"))) == [
        "checks.yaml:4:25  checks.node.for_each.file_sd: there is no such file: t/b.json; did you mean a.json?"
    ]


def test_targets_are_bounded(tmp_path: Path) -> None:
    """A thousand of one check, and 4 MB of a file."""
    file = written(tmp_path, a=group(*(f"h{number}" for number in range(1001))))
    assert wrong(file) == ["checks.yaml:4:25  checks.node.for_each.file_sd: names 1,001 targets, and may name 1,000"]
    (tmp_path / "t" / "a.json").write_text("[" + " " * 4_000_000 + "]")
    assert wrong(file) == ["checks.yaml:4:26  checks.node.for_each.file_sd: t/a.json is larger than 4 MB"]


class Runner:
    """A reload of real files, as `outrider run` has it, without the checks."""

    def __init__(self, file: Path) -> None:
        self.live = LiveConfiguration(file, {})
        self.plan = self.live.read()
        self.told: list[bool] = []
        self.reload = Reload(
            path=file,
            load=self.live.read,
            apply=self._apply,
            report=self.told.append,
            time=lambda: 1000.0,
            files=lambda: self.plan.files,
            targets=Targets(self.live.read_targets, self.live.target_paths),
            log=lambda *_: None,
        )

    async def _apply(self, plan: Plan) -> None:
        self.plan = plan

    async def looked(self, write: Callable[[], object] = lambda: None) -> list[str]:
        """The checks after something was written, and some looks."""
        await asyncio.to_thread(write)
        for _ in range(4):
            await self.reload.look()
        return names(self.plan)


async def test_a_changed_list_is_read_without_the_rest(tmp_path: Path) -> None:
    """Also while checks.yaml can't be used: it stays refused. A file that appears or goes is seen; unchanged checks stay the same."""
    file = await asyncio.to_thread(lambda: written(tmp_path, a=group("x")))
    runner = await asyncio.to_thread(Runner, file)
    before = runner.plan.fingerprints
    assert await runner.looked() == ["node-x", "own"]
    assert await runner.looked(lambda: written(tmp_path, a=group("x", "y"))) == ["node-x", "node-y", "own"]
    assert (runner.told, {name: runner.plan.fingerprints[name] for name in before}) == ([], before)
    assert await runner.looked(lambda: file.write_text("checks: [")) == ["node-x", "node-y", "own"]
    assert (runner.told, runner.reload.refused is not None) == ([False], True)
    assert await runner.looked(lambda: (tmp_path / "t" / "b.json").write_text(json.dumps(group("z")))) == [
        *("node-x", "node-y", "node-z", "own")
    ]
    assert await runner.looked((tmp_path / "t" / "a.json").unlink) == ["node-z", "own"]
    assert (runner.told, runner.reload.refused is not None) == ([False], True)
    assert await runner.looked(lambda: written(tmp_path)) == ["node-z", "own"]
    assert (runner.told, runner.reload.refused) == ([False, True], None)


async def test_a_broken_list_keeps_its_last_good_one_and_says_so(tmp_path: Path) -> None:
    """Of the wrong form, half written, gone though it is named, or with a target that makes no check; checks.yaml goes on being read."""
    file = await asyncio.to_thread(lambda: written(tmp_path, "[t/a.json, t/b.json]", a=group("x"), b=group("y")))
    runner, a = await asyncio.to_thread(Runner, file), tmp_path / "t" / "a.json"
    await runner.looked()
    for text, why in (
        ('[{"targets": ["x"', "t/a.json:1:18 is no JSON: Expecting ',' delimiter"),
        ("", "is empty; an empty list is []"),
        ('[{"targets": ["x"], "labels": {"team": "Web Team"}}]', "with it checks.node-x.tags, item 1: a tag has small letters"),
    ):
        assert await runner.looked(lambda text=text: a.write_text(text)) == ["node-x", "node-y", "own"]  # type: ignore[misc]
        (warning,) = runner.live.warnings()
        assert warning.startswith("t/a.json can't be used, so that its last good list stays (1 targets): ")
        assert why in warning
    assert await runner.looked(a.unlink) == ["node-x", "node-y", "own"]
    assert "there is no such file: t/a.json" in runner.live.warnings()[0]
    assert await runner.looked(lambda: written(tmp_path, "[t/a.json, t/b.json]", b=group("z"))) == ["node-x", "node-z", "own"]
    assert await runner.looked(lambda: written(tmp_path, "[t/a.json, t/b.json]", a=group("w"))) == ["node-w", "node-z", "own"]
    assert (runner.live.warnings(), False in runner.told) == ((), False)


def test_a_runner_starts_without_a_list_that_is_wrong(tmp_path: Path) -> None:
    """The other checks run, and it is said; a mistake of checks.yaml itself is still an error."""
    file = written(tmp_path, a="- nothing", b=group("x"))
    live = LiveConfiguration(file, {})
    assert names(live.read()) == ["node-x", "own"]
    assert live.warnings()[0].startswith("t/a.yml can't be used, and no target of it is known: t/a.yml:1:3 item 1: is no group")
    file.write_text(file.read_text().replace("port: 1}", "port: one}"))
    with pytest.raises(PlanError) as error:
        live.read()
    assert [one.message for one in error.value.problems] == ["must be a whole number"]


GROUPS = st.recursive(
    st.none() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["targets", "labels", "x"]), inner),
)


@given(st.binary(max_size=200) | GROUPS.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_file_holds_is_a_list_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Never a traceback, in JSON and in YAML."""
    folder = tmp_path_factory.mktemp("lists")
    for name in ("a.json", "a.yml"):
        (folder / name).write_bytes(data)
        files = TargetFiles(keep=True)
        files.begin()
        found = list(files.find(folder, name))
        assert bool(found) <= (not files.wrong)
