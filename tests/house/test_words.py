"""The words of the house: the field's own, in names and in what a person reads. Each rule is a function from a tree to its breaches."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.tree import ROOT, Module, build, modules

PRODUCT = ("probes", "judge", "loadtests", "runner", "demo")

# The left column of HOUSE.md's table, as words of an identifier, and what is written instead.
INSTEAD = {
    "answer": "response",
    "beat": "tick",
    "book": "build context",
    "chore": "background job",
    "door": "endpoint",
    "draft": "builder",
    "heard": "response, or what was received",
    "mark": "annotation",
    "notebook": "context",
    "purse": "quota, budget",
    "ride": "user",
    "rider": "user",
    "road": "check",
    "said": "message, text",
    "sketch": "dry run",
    "stretch": "span, interval",
    "told": "message, summary",
    "visit": "session",
    "way": "route",
    "withheld": "refused",
}
# Keys of checks.yaml and of JSON reports, and what HOUSE.md promises to kinds: they are scripted against.
PROMISED = frozenset(
    {
        ("loadtests/result.py", "gave_way"),
        ("probes/core.py", "mark"),
        ("probes/kinds/ai/budget.py", "answer"),
        ("probes/kinds/dns/expected.py", "answer"),  # the section of a message, RFC 1035, 4.1
        ("probes/kinds/dns/expected.py", "answers"),
    },
)
# Names that other people's libraries gave.
FOREIGN = frozenset({"MarkedYAMLError", "context_mark", "end_mark", "problem_mark", "start_mark"})

# The same table in prose. A road trip is the product's name; open and closed are words of sockets, files and load tests.
PROSE = re.compile(
    r"\b(notebook|purses?|chores|riders?|roads?(?! trip)|shaken hands|shakes hands|stood still|stands still"
    r"|our own loop|so many (?:seconds|signs|characters|milliseconds|bytes)|made up|\d+ signs|by so much)\b",
    re.IGNORECASE,
)


def words_of(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case and in the singular."""
    found = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)
    return {word.lower() for word in found} | {word.lower().removesuffix("s") for word in found}


def names_in(module: Module) -> Iterator[tuple[int, str]]:
    """Every name that a module gives: modules, classes, functions, arguments, variables and attributes."""
    yield 1, Path(module.path).stem
    for node in module.nodes:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.ExceptHandler(name=str() as name):
                yield node.lineno, name


def identifiers_are_the_fields(root: Path) -> list[str]:
    """No identifier of the product has a word of the left column."""
    return [
        f"{module.path}:{line}: {name}: write {INSTEAD[word]} instead of {word}"
        for room in PRODUCT
        for module in modules(root, room)
        for line, name in dict.fromkeys(names_in(module))
        if name not in FOREIGN and (module.path, name) not in PROMISED
        for word in sorted(words_of(name) & INSTEAD.keys())
    ]


def documents(root: Path) -> Iterator[Path]:
    """What a person reads of the repository, beside the code."""
    for folder, pattern in ((".", "*.md"), ("docs", "**/*.md"), ("runner/web", "**/*.html"), ("loadtests", "**/*.html")):
        yield from sorted((root / folder).glob(pattern))
    yield from (file for file in (root / "checks.yaml", root / "checks.schema.json") if file.is_file())


def prose_is_plain(root: Path) -> list[str]:
    """No text, docstring, comment or message has a phrase of the left column."""
    texts = {module.path: module.text for room in PRODUCT for module in modules(root, room)}
    texts |= {str(file.relative_to(root)): file.read_text(encoding="utf-8") for file in documents(root)}
    return [
        f"{path}:{number}: {found[0]!r} is no word of the field"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        for found in PROSE.finditer(line)
    ]


RULES = (identifiers_are_the_fields, prose_is_plain)
Rule = Callable[[Path], list[str]]


@pytest.mark.slow
def test_the_house_speaks_the_fields_words() -> None:
    """A reader searches for the word that he knows: none of the old dialect is left in names or in what is read."""
    assert [breach for rule in RULES for breach in rule(ROOT)] == []


BREACHES: tuple[tuple[Rule, dict[str, str], str], ...] = (
    (identifiers_are_the_fields, {"probes/http/visit.py": ""}, "probes/http/visit.py:1: visit: write session"),
    (identifiers_are_the_fields, {"runner/a.py": "def _heard(): ..."}, "runner/a.py:1: _heard: write response"),
    (identifiers_are_the_fields, {"runner/a.py": "class PurseOfStories: ..."}, "runner/a.py:1: PurseOfStories: write quota, budget"),
    (identifiers_are_the_fields, {"judge/a.py": "def f(beats: int): ..."}, "judge/a.py:1: beats: write tick"),
    (identifiers_are_the_fields, {"judge/a.py": "x = 1\nwhat_was_told = 2"}, "judge/a.py:2: what_was_told: write message"),
    (
        identifiers_are_the_fields,
        {"demo/a.py": "class A:\n    def f(self):\n        self.answer = 1"},
        "demo/a.py:3: answer: write response",
    ),
    (identifiers_are_the_fields, {"demo/a.py": "try: ...\nexcept OSError as withheld: ..."}, "demo/a.py:2: withheld: write refused"),
    (prose_is_plain, {"README.md": "All roads are open."}, "README.md:1: 'roads' is no word"),
    (prose_is_plain, {"docs/runbooks/a.md": "\nOur own loop stood still."}, "docs/runbooks/a.md:2: 'Our own loop' is no word"),
    (prose_is_plain, {"runner/web/templates/a.html": "<p>made up</p>"}, "runner/web/templates/a.html:1: 'made up' is no word"),
    (prose_is_plain, {"runner/a.py": '"""Waits so many seconds."""'}, "runner/a.py:1: 'so many seconds' is no word"),
)


@pytest.mark.parametrize(
    ("rule", "files", "breach"), BREACHES, ids=[f"{rule.__name__}-{number}" for number, (rule, _, _) in enumerate(BREACHES)]
)
def test_each_rule_sees_what_breaks_it(tmp_path: Path, rule: Rule, files: dict[str, str], breach: str) -> None:
    """A rule that can't fail keeps nothing: each finds the breach that it is there for, and says where."""
    found = rule(build(tmp_path, files))
    assert any(breach in line for line in found), found


def test_the_rules_leave_the_fields_words_alone(tmp_path: Path) -> None:
    """The product's name, a booking, a loop that is closed and what a library calls a mark break no rule."""
    files = {
        "README.md": "The AI Road Trip Storyteller: a closed loop of users.",
        "probes/kinds/booking/__init__.py": "class Booking: ...\nasync def availability(response): ...",
        "runner/config/document.py": "def f(event):\n    start_mark = event.start_mark\n    always = start_mark",
    }
    assert [breach for rule in RULES for breach in rule(build(tmp_path, files))] == []
