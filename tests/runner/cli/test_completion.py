"""What a shell is offered after Tab."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from runner.cli import outrider

CHECKS = """version: 1
targets: {a: {url: "${NOT_SET}"}}
checks:
  api: {kind: http, target: a, tags: [smoke, web]}
  api-report: {kind: health_metrics, tags: [smoke]}
  broken: 7
load:
  scenarios: {roadtrip: {}, rush-hour: {}}
"""


def offered(*words: str) -> list[str]:
    """What follows these words, of which the last is begun."""
    complete = ShellComplete(outrider, {}, "outrider", "_OUTRIDER_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("probe", "a"), ["api", "api-report"]),
        (("probe", "--check", ""), ["api", "api-report", "broken"]),
        (("gate", "--tag", "s"), ["smoke"]),
        (("load", "r"), ["roadtrip", "rush-hour"]),
        (("demo", "--fault", "db-d"), ["db-down"]),
        (("demo", "--off", "al"), ["all"]),
        (("probe", "--config", "{other}", "z"), ["zoo"]),
        (("va",), ["validate"]),
    ],
)
def test_names_of_the_file_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], names: list[str]) -> None:
    """U23: checks, tags, scenarios and faults, without any variable set and whatever is wrong in the file."""
    (tmp_path / "checks.yaml").write_text(CHECKS)
    other = tmp_path / "other.yaml"
    other.write_text("checks: {zoo: {}}")
    monkeypatch.chdir(tmp_path)
    assert offered(*(word.format(other=other) for word in words)) == names


@pytest.mark.parametrize("text", ["", "[", "7", "checks: 7", "checks: [a]", "load: 3", "checks: {a: {tags: 5}}", "\x00"])
def test_a_file_without_use_offers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """U23: and no error is written into the line that somebody types; nor is one when there is no file."""
    monkeypatch.chdir(tmp_path)
    assert offered("gate", "--tag", "") == []
    (tmp_path / "checks.yaml").write_text(text)
    assert offered("gate", "--tag", "") == []
    assert offered("load", "") == []


def test_names_of_included_files_and_of_elements_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """U23: a group and each check that it makes, with its tags; where an included file is wrong, the names of the file alone."""
    (tmp_path / "checks.yaml").write_text("version: 1\ninclude: d/\nchecks: {own: {}}\nload: {scenarios: {rush: {}}}\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "shop.yaml").write_text("checks: {shop: {for_each: [eu, us], tags: ['of-${each.key}']}}")
    monkeypatch.chdir(tmp_path)
    assert offered("probe", "--check", "") == ["shop", "own", "shop-eu", "shop-us"]
    assert (offered("run", "--tag", "of"), offered("load", "")) == (["of-eu", "of-us"], ["rush"])
    (tmp_path / "d" / "shop.yaml").write_text("[")
    assert offered("probe", "--check", "") == ["own"]
