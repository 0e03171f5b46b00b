"""The runbooks: whoever is called at night finds a step for what they see, and commands that run where they are told to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from probes.core import Reason

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs/runbooks"


def text_of(name: str) -> str:
    """A runbook, its lines joined."""
    return " ".join((RUNBOOKS / name).read_text(encoding="utf-8").split())


def rows() -> list[list[str]]:
    """The reasons of each row of the table in check-down.md."""
    table = (RUNBOOKS / "check-down.md").read_text(encoding="utf-8").partition("| reason | ")[2]
    return [line.split("|")[1].strip().split(", ") for line in table.splitlines()[2:] if line.startswith("| ")]


def test_every_reason_has_a_row() -> None:
    """And each row is of reasons that there are, each told once."""
    assert sorted(reason for row in rows() for reason in row) == sorted(Reason)


def test_every_reason_of_a_run_that_can_not_be_told_has_a_step() -> None:
    """The row that leads to check-unknown.md names what is found there."""
    [unknown] = [row for row in rows() if Reason.STARVED in row]
    assert sorted(unknown) == sorted(set(re.findall(r"\d\. `(\w+)`", text_of("check-unknown.md"))))


@pytest.mark.parametrize(
    ("runbook", "words", "kind"),
    [
        ("database.md", "no connection is left", "postgres/connection.py"),
        ("database.md", "the server lets nobody in now", "postgres/connection.py"),
        ("cache.md", "no connection is left", "redis/__init__.py"),
        ("cache.md", "the server is not ready", "redis/__init__.py"),
        ("cache.md", "was refused: ", "redis/__init__.py"),
    ],
)
def test_words_that_a_runbook_quotes_are_those_that_are_said(runbook: str, words: str, kind: str) -> None:
    """Both are found under the reason `status`, as the message has them."""
    status = re.search(r"\d\. `status`.*?(?=\d\. `|\*\*)", text_of(runbook))
    assert status
    assert words in status[0]
    assert re.search(rf"Reason\.STATUS, f\"[^\"]*{re.escape(words)}", (ROOT / "probes/kinds" / kind).read_text(encoding="utf-8"))


def test_asking_by_hand_is_told_for_each_way_of_running() -> None:
    """The commands name what docker-compose.yml and docs/running.md name: the service, the deployment, the unit's own paths."""
    where = text_of("check-down.md").partition("## Where to run it")[2]
    running = (ROOT / "docs/running.md").read_text(encoding="utf-8")
    assert "docker compose exec outrider outrider probe NAME" in where
    assert "outrider" in yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    deployment = yaml.safe_load(running.partition("```yaml\n")[2].partition("\n---")[0])
    named = deployment["metadata"]
    assert f"kubectl --namespace {named['namespace']} exec deploy/{named['name']} -- outrider probe NAME" in where
    for path in ("EnvironmentFile=-/etc/outrider/environment", "/etc/outrider/secrets", "/opt/outrider/bin/outrider "):
        assert path in where
        assert path in running.partition("```ini\n")[2].partition("```")[0]
    assert "--config /etc/outrider/checks.yaml" in where


@pytest.mark.parametrize("runbook", sorted(path.name for path in RUNBOOKS.glob("*.md") if "outrider probe NAME" in path.read_text("utf-8")))
def test_who_is_told_to_ask_is_told_where(runbook: str) -> None:
    """Beside the command stands the link to how it is run there."""
    assert "#where-to-run-it" in text_of(runbook)


@pytest.mark.parametrize("document", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_a_link_to_a_heading_finds_it(document: Path) -> None:
    """As GitHub names headings: in small letters, with hyphens for spaces."""
    for name, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text(encoding="utf-8")):
        target = (document.parent / name) if name else document
        headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
