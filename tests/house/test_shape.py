"""The shape of the house: sizes, names, state, and which file lies where. Each rule is a function from a tree to its breaches."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support.tree import ROOT, Module, build, modules

PRODUCT = ("probes", "judge", "runner", "demo", "loadtests")
LONGEST_FILE = 350
LONGEST_TEST_FILE = 450  # a test file is a list, and reads well a little longer
LONGEST_FUNCTION = 60

# Names that say nothing, as words of a class, function or module name.
EMPTY_WORDS = frozenset({"manager", "helper", "helpers", "util", "utils", "misc", "common", "stuff"})

# What HOUSE.md section 2 and the workshop put at the top; a new room is named there first.
TOP = frozenset(
    """
    .ci .dockerignore .editorconfig .gitattributes .github .gitignore .pre-commit-config.yaml .yamllint.yaml
    CHANGELOG.md CONTRIBUTING.md Dockerfile LICENSE Makefile README.md SECURITY.md benchmarks checks.schema.json checks.yaml
    demo docker-compose.yml docs infrastructure judge loadtests probes pyproject.toml requirements runner tests
    """.split(),
)

MUTATORS = frozenset(
    """
    add append appendleft clear discard extend insert pop popitem popleft remove setdefault update reverse sort
    """.split(),
)
STATEFUL = frozenset(
    """
    AsyncClient Client CollectorRegistry ContextVar Counter Event Gauge Histogram Lock OrderedDict Queue RLock Semaphore Summary
    WeakKeyDictionary WeakSet WeakValueDictionary defaultdict deque
    """.split(),
)


def parsed(root: Path, *rooms: str) -> Iterator[Module]:
    """Every module of these rooms."""
    return (module for room in rooms for module in modules(root, room))


def longest(path: str) -> int:
    """How many lines a file may have."""
    return LONGEST_TEST_FILE if path.startswith("tests/") else LONGEST_FILE


def files_are_short(root: Path) -> list[str]:
    """A file has 350 lines at most, a test file 450; seldom over 250."""
    return [
        f"{module.path}: {lines} lines; split it by what it does, at {longest(module.path)} at the latest"
        for module in parsed(root, *PRODUCT, "tests")
        if (lines := len(module.text.splitlines())) > longest(module.path)
    ]


def functions_are_short(root: Path) -> list[str]:
    """A function has 60 lines at most, its docstring and signature included; seldom over 40."""
    return [
        f"{module.path}:{node.lineno}: {node.name} has {length} lines; {LONGEST_FUNCTION} at most"
        for module in parsed(root, *PRODUCT, "tests")
        for node in module.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    ]


def words_of(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def names_say_something(root: Path) -> list[str]:
    """No module, class or function is called a manager, a helper or a util."""
    breaches = []
    for module in parsed(root, *PRODUCT, "tests"):
        names = [
            (1, Path(module.path).stem),
            *((n.lineno, n.name) for n in module.nodes if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)),
        ]
        breaches += [f"{module.path}:{line}: {name} says nothing of what it does" for line, name in names if words_of(name) & EMPTY_WORDS]
    return breaches


def called(node: ast.expr) -> str:
    """The last name of what a call calls, or ''."""
    match node:
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name
        case _:
            return ""


def is_container(value: ast.expr) -> bool:
    """Whether an expression makes a list, a dict or a set."""
    displays = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
    return isinstance(value, displays) or called(value) in ("list", "dict", "set")


def is_empty_container(value: ast.expr) -> bool:
    """Whether it makes an empty one: at module level that is only good for being filled."""
    match value:
        case ast.List(elts=[]) | ast.Dict(keys=[]) | ast.Call(args=[], keywords=[]):
            return is_container(value)
        case _:
            return False


def module_level(tree: ast.Module) -> Iterator[tuple[str, ast.expr, int]]:
    """Names that are bound at the module's own level: name, value, line."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=targets, value=value):
                yield from ((t.id, value, node.lineno) for t in targets if isinstance(t, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value, node.lineno


def changed(nodes: Iterable[ast.AST]) -> set[str]:
    """Names whose content the module changes: x[...] = 1, del x[...], x.append(...), x |= ..."""
    names: set[str] = set()
    for node in (node for node in nodes if isinstance(node, ast.Subscript | ast.Call | ast.AugAssign)):
        match node:
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in MUTATORS:
                names.add(name)
            case ast.AugAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


def modules_hold_no_state(root: Path) -> list[str]:
    """Nothing at module level changes: registries, clocks, locks and stores come in as arguments."""
    breaches = []
    for module in parsed(root, *PRODUCT):
        altered = changed(module.nodes)
        breaches += [f"{module.path}:{n.lineno}: global {', '.join(n.names)}" for n in module.nodes if isinstance(n, ast.Global)]
        breaches += [
            f"{module.path}:{line}: {name} is state at module level; hand it in as an argument"
            for name, value, line in module_level(module.tree)
            if called(value) in STATEFUL or is_empty_container(value) or (is_container(value) and name in altered)
        ]
    return breaches


def constants_are_given_once(root: Path) -> list[str]:
    """A module gives each of its names one value: a second one changes what the lines above it promise, and no type checker says so."""
    breaches = []
    for module in parsed(root, *PRODUCT, "tests"):
        seen: set[str] = set()
        for statement in module.tree.body:
            match statement:
                case ast.Assign(targets=targets):
                    pass
                case ast.AnnAssign(target=target):
                    targets = [target]
                case _:
                    continue
            for node in (node for target in targets for node in ast.walk(target)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    if node.id in seen:
                        breaches.append(f"{module.path}:{node.lineno}: {node.id} has a value already")
                    seen.add(node.id)
    return breaches


def every_kind_has_its_test(root: Path) -> list[str]:
    """A public file or folder in probes/kinds/ is a kind, and tests/probes/test_<kind>.py tests it."""
    kinds = [entry.stem for entry in sorted((root / "probes/kinds").glob("[!_]*"))]
    return [f"tests/probes/test_{kind}.py is missing" for kind in kinds if not (root / f"tests/probes/test_{kind}.py").is_file()]


def ignored(root: Path) -> list[str]:
    """The patterns of .gitignore."""
    file = root / ".gitignore"
    return [line.strip("/") for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def the_top_is_what_the_house_names(root: Path) -> list[str]:
    """At the top lie the rooms that HOUSE.md names, and no others, what git ignores aside."""
    patterns = [".git", *ignored(root)]
    return [
        f"{entry.name} is not among the rooms that HOUSE.md names"
        for entry in sorted(root.iterdir())
        if entry.name not in TOP and not any(fnmatch(entry.name, pattern) for pattern in patterns)
    ]


RULES = (
    files_are_short,
    functions_are_short,
    names_say_something,
    modules_hold_no_state,
    constants_are_given_once,
    every_kind_has_its_test,
    the_top_is_what_the_house_names,
)
Rule = Callable[[Path], list[str]]


@pytest.mark.slow
def test_the_house_keeps_its_shape() -> None:
    """Files and functions are short, names speak, modules hold no state, and everything lies where HOUSE.md says."""
    assert [breach for rule in RULES for breach in rule(ROOT)] == []


BREACHES: tuple[tuple[Rule, dict[str, str], str], ...] = (
    (files_are_short, {"probes/kinds/http.py": "#\n" * 351}, "probes/kinds/http.py: 351 lines;"),
    (files_are_short, {"tests/probes/test_http.py": "#\n" * 451}, "tests/probes/test_http.py: 451 lines;"),
    (functions_are_short, {"runner/web/page.py": "x = 1\ndef page():\n" + "    x = 1\n" * 60}, "runner/web/page.py:2: page has 61 lines;"),
    (names_say_something, {"runner/config/utils.py": ""}, "runner/config/utils.py:1: utils says nothing"),
    (names_say_something, {"runner/config/read.py": "class PlanManager: ..."}, "runner/config/read.py:1: PlanManager says nothing"),
    (modules_hold_no_state, {"runner/state.py": "CACHE = {}"}, "runner/state.py:1: CACHE is state"),
    (modules_hold_no_state, {"runner/state.py": "SEEN: set[str] = set()"}, "runner/state.py:1: SEEN is state"),
    (modules_hold_no_state, {"runner/state.py": "KNOWN = {'a': 1}\ndef f():\n    KNOWN['b'] = 2"}, "runner/state.py:1: KNOWN is state"),
    (modules_hold_no_state, {"runner/state.py": "KNOWN = ['a']\ndef f():\n    KNOWN.append('b')"}, "runner/state.py:1: KNOWN is state"),
    (modules_hold_no_state, {"runner/state.py": "import threading\nLOCK = threading.Lock()"}, "runner/state.py:2: LOCK is state"),
    (modules_hold_no_state, {"runner/state.py": "N = 0\ndef f():\n    global N\n    N = 1"}, "runner/state.py:3: global N"),
    (constants_are_given_once, {"probes/text.py": "A, B = 1, 2\nA = 3"}, "probes/text.py:2: A has a value already"),
    (every_kind_has_its_test, {"probes/kinds/ping.py": ""}, "tests/probes/test_ping.py is missing"),
    (every_kind_has_its_test, {"probes/kinds/ping/__init__.py": ""}, "tests/probes/test_ping.py is missing"),
    (the_top_is_what_the_house_names, {"scripts/deploy.sh": ""}, "scripts is not among"),
)


@pytest.mark.parametrize(
    ("rule", "files", "breach"), BREACHES, ids=[f"{rule.__name__}-{number}" for number, (rule, _, _) in enumerate(BREACHES)]
)
def test_each_rule_sees_what_breaks_it(tmp_path: Path, rule: Rule, files: dict[str, str], breach: str) -> None:
    """A rule that can't fail keeps nothing: each finds the breach that it is there for, and says where."""
    found = rule(build(tmp_path, files))
    assert any(breach in line for line in found), found


def test_the_rules_leave_plain_code_alone(tmp_path: Path) -> None:
    """Tables that nothing changes, names with a meaning, and what git ignores break no rule."""
    files = {
        ".gitignore": "dist/\n*.egg-info/",
        "dist/outrider.whl": "",
        "probes/fields.py": "UNITS = {'s': 1}\ndef f(found):\n    found.update(UNITS)\n    own = {}\n    own['a'] = UNITS['s']",
        "probes/kinds/http.py": "",
        "tests/probes/test_http.py": "",
        "judge/verdict.py": "EXITS = ('pass', 'fail')",
    }
    assert [breach for rule in RULES for breach in rule(build(tmp_path, files))] == []
