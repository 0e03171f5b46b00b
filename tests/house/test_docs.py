"""The documents: what they show works, what they name is there, and what is there they name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import promql_parser
import pytest

import probes
from runner.config.read import read_plan
from runner.load.metrics import FAMILIES as OF_A_LOAD

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def text_of(name: str) -> str:
    """A document."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """The code blocks of a language in a document."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(name), re.MULTILINE | re.DOTALL)


def test_the_readme_begins_with_a_picture_and_the_two_commands() -> None:
    """U24: A newcomer sees what they get, and then the two commands, before anything else."""
    readme = text_of("README.md")
    picture, demo, test = readme.index("!["), readme.index("make demo"), readme.index("make test")
    assert picture < demo < test < readme.index("\n## ")


def test_the_readme_names_the_tests_that_prove_it() -> None:
    """Each point of what it does names tests, and each of them is in the file that is linked."""
    points = text_of("README.md").partition("\n## What it does\n")[2].partition("\n## ")[0].split("\n- ")[1:]
    for point in points:
        tests = re.findall(r"\[(\w+)\]\((tests/[^)]+)\)", point)
        assert tests, point
        assert [name for name, file in tests if not re.search(rf"def test_{name}\(", text_of(file))] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    """A relative link in a document names a file of the repository."""
    links = re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (document.parent / link).exists()] == []


@pytest.mark.parametrize("number", range(len(blocks("docs/checks.md", "yaml"))))
def test_the_guides_examples_are_valid(tmp_path: Path, number: int) -> None:
    """Each example of the guide to checks is a file that loads as it stands."""
    example = tmp_path / "checks.yaml"
    example.write_text(blocks("docs/checks.md", "yaml")[number], encoding="utf-8")
    assert read_plan(example, environ={}).checks


def test_the_guide_tells_of_every_kind() -> None:
    """Each kind has its section in the guide, and each section a kind."""
    kinds = text_of("docs/checks.md").partition("\n## Kinds\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^### (\w+)$", kinds, re.MULTILINE)) == sorted(probes.discover())


def test_the_list_of_metrics_is_whole() -> None:
    """docs/metrics.md names each family that is exposed, and no other."""
    families = {row.split(" | ")[0] for row in text_of("tests/runner/sinks/catalogue.txt").splitlines()} | {*OF_A_LOAD}
    tables = "\n".join(line for line in text_of("docs/metrics.md").splitlines() if line.startswith("|"))
    assert set(re.findall(r"`((?:probe|outrider|process|log|deployment)_\w+)", tables)) == families


@pytest.mark.parametrize("query", [*blocks("docs/metrics.md", "promql"), *blocks("docs/scale.md", "promql")])
def test_the_queries_parse(query: str) -> None:
    """Each query of the documents is PromQL."""
    promql_parser.parse(query)


def test_each_dependency_says_why_it_is_here() -> None:
    """CONTRIBUTING.md names every dependency of pyproject.toml, with a reason."""
    project = tomllib.loads(text_of("pyproject.toml"))
    groups = [entry for group in project["dependency-groups"].values() for entry in group if isinstance(entry, str)]
    extras = [entry for extra in project["project"]["optional-dependencies"].values() for entry in extra]
    wanted = {re.split(r"[<>=!~;\[ ]", entry)[0] for entry in [*project["project"]["dependencies"], *extras, *groups]}
    table = text_of("CONTRIBUTING.md").partition("| package | why |")[2]
    named = {name.strip() for row in table.splitlines() if row.count("|") == 3 for name in row.split("|")[1].split(",")}
    assert wanted - named == set()
    assert named - wanted - {"---"} == set()


def test_the_change_log_has_its_form() -> None:
    """CHANGELOG.md begins with what is unreleased, in the words of Keep a Changelog."""
    changes = text_of("CHANGELOG.md")
    assert re.findall(r"^## \[(.+?)\]", changes, re.MULTILINE)[0] == "Unreleased"
    assert set(re.findall(r"^### (.+)$", changes, re.MULTILINE)) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_every_runbook_that_checks_yaml_names_is_there() -> None:
    """A check never sends somebody on call to a page that doesn't exist."""
    named = re.findall(r"runbook: *(?:\$\{RUNBOOKS:-\})?(\S+?)[,}\s]", text_of("checks.yaml"))
    assert named
    assert [path for path in named if "://" not in path and not (ROOT / path).is_file()] == []
