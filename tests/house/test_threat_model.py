"""docs/threat-model.md: what it promises has the tests that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")


def names_of_tests() -> set[str]:
    """The names of all tests."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "tests").rglob("test_*.py"))
    found = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in found if function.name.startswith("test_")}


@pytest.mark.slow
def test_every_test_that_is_named_is_there() -> None:
    """A test that was renamed or dropped proves nothing any more: the page is changed with it."""
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named
    assert named - names_of_tests() == set()


def test_every_threat_names_a_test() -> None:
    """Against each there is something that a test keeps."""
    threats = PAGE.partition("\n## Threats and defences\n")[2].partition("\n## ")[0].split("\n### ")[1:]
    assert threats
    assert [threat.splitlines()[0] for threat in threats if not re.search(r"\[`test_\w+`", threat)] == []


def test_brackets_hold_tests_alone() -> None:
    """Who reads the page finds each name by searching for it."""
    brackets = re.findall(r"\[(`[^\]]+)\]", PAGE)
    assert [text for text in brackets if not re.fullmatch(r"`test_\w+`(, `test_\w+`)*", text)] == []
