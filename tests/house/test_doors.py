"""The doors of the house, read from the imports. Each rule is a function from a tree to its breaches."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.support.tree import ROOT, Module, build, modules

ROOMS = ("probes", "runner", "demo", "loadtests", "tests")

# From the ground. A room imports from floors below its own; the records of judge.observation are everybody's.
FLOORS = (
    {"observation", "judge", "state", "annotations", "redact"},
    {"plan", "reports", "sinks"},
    {"engine", "web"},
    {"gate", "render"},
    {"cli"},
)
# Records without behaviour: what a Check and an Observation are is everybody's; what a Plan is, of those from its floor up.
PLAN_RECORDS = "runner.config.plan"


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: who imports it, where, and whether for the type checker alone."""

    importer: str
    imported: str
    place: str
    typing_only: bool


def guarded(module: Module) -> set[ast.AST]:
    """The nodes under `if TYPE_CHECKING:`."""
    ifs = [node for node in module.nodes if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")]
    return {inner for node in ifs for statement in node.body for inner in ast.walk(statement)}


def named_by(node: ast.AST, package: list[str]) -> list[str]:
    """The modules that an import statement or a literal import_module(...) names; `from a import b` names a and a.b."""
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            return [base, *(f"{base}.{alias.name}" for alias in node.names)]
        case ast.Call(
            func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"), args=[ast.Constant(str() as name), *_]
        ):
            return [name]
        case _:
            return []


def imports(root: Path, *rooms: str) -> list[Import]:
    """Every import in these rooms, those within functions too."""
    return [found for found in all_imports(root) if within(found.importer, *rooms)]


@cache
def all_imports(root: Path) -> tuple[Import, ...]:
    """Every import in all rooms: a tree is read once."""
    found: list[Import] = []
    for module in (module for room in ROOMS for module in modules(root, room)):
        name = module.name
        package = name.split(".") if module.path.endswith("__init__.py") else name.split(".")[:-1]
        typing_only = guarded(module)
        for node in (node for node in module.nodes if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)):
            place = f"{module.path}:{getattr(node, 'lineno', 0)}"
            found += [Import(name, imported, place, node in typing_only) for imported in named_by(node, package)]
    return tuple(found)


def within(module: str, *rooms: str) -> bool:
    """Whether a module is one of these, or lies in one of them."""
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def first_party(module: str) -> bool:
    """Whether a module is ours."""
    return within(module, *ROOMS)


def is_private_probe(module: str) -> bool:
    """Whether a module of probes is shared ground, not a kind."""
    return module.startswith("probes._")


def probes_know_no_room(root: Path) -> list[str]:
    """Probes import nothing of ours but probes._*: no runner, no demo, and no kind another kind."""
    return [
        f"{i.place}: {i.importer} imports {i.imported}; probes import only probes._* and libraries"
        for i in imports(root, "probes")
        if first_party(i.imported) and i.imported != "probes" and not is_private_probe(i.imported) and i.importer != i.imported
    ]


GROUND = ("probes.core", "probes.families")


def the_ground_stands_on_nothing(root: Path) -> list[str]:
    """probes.core imports nothing of ours but the metric families under it, the name of a type aside."""
    return [
        f"{i.place}: {i.importer} imports {i.imported}; the ground floor stands on nothing"
        for i in imports(root, "probes")
        if i.importer in GROUND and first_party(i.imported) and not i.typing_only and not i.imported.startswith("probes.families")
    ]


def reached(root: Path, start: str) -> dict[str, Import]:
    """What a module imports, and what those of ours import in turn (the type checker's aside): by name, with one importer."""
    by_importer: dict[str, list[Import]] = {}
    for found in imports(root, *ROOMS):
        by_importer.setdefault(found.importer, []).append(found)
    seen: dict[str, Import] = {}
    queue = [start]
    while queue:
        for found in by_importer.get(queue.pop(), []):
            if not found.typing_only and found.imported not in seen:
                seen[found.imported] = found
                queue.append(found.imported)
    return seen


def journeys_do_no_io(root: Path) -> list[str]:
    """_journey and _assertions reach neither asyncio nor httpx, themselves or through what they import: gevent drives them too."""
    return [
        f"{found.place}: {start} reaches {name}; gevent drives it too"
        for start in ("probes.journeys.play", "probes.expect.assertions")
        for name, found in reached(root, start).items()
        if within(name, "asyncio", "httpx")
    ]


def floor_of(module: str) -> int | None:
    """The floor of a module of runner; None for one that has none."""
    room = module.removeprefix("runner.").split(".")[0] if within(module, "runner") else ""
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms), None)


def may_come_in(importer: str, imported: str) -> bool:
    """Whether a module of runner, which has a floor, may import another of runner."""
    own, other = floor_of(importer), floor_of(imported)
    same_room = importer.split(".")[1:2] == imported.split(".")[1:2]
    if own is None or other is None or same_room or within(imported, "judge.observation"):
        return True
    return other < own or (within(imported, PLAN_RECORDS) and other == own)


def rooms_import_from_below(root: Path) -> list[str]:
    """A room of runner imports from lower floors, from itself, and the records that are everybody's."""
    found = [i for i in imports(root, "runner") if i.importer not in ("runner", "runner.__main__")]
    homeless = {
        f"{i.place}: {i.importer} stands on no floor; give its room one in HOUSE and here" for i in found if floor_of(i.importer) is None
    }
    from_above = {
        f"{i.place}: {i.importer} imports {i.imported}, which is not below it" for i in found if not may_come_in(i.importer, i.imported)
    }
    return sorted(homeless | from_above)


def only_the_command_knows_the_demo(root: Path) -> list[str]:
    """The demo is imported by its command and by tests."""
    return [
        f"{i.place}: {i.importer} imports {i.imported}; only runner/cli/demo.py and tests may"
        for i in imports(root, "probes", "runner", "loadtests")
        if within(i.imported, "demo") and i.importer != "runner.cli.demo"
    ]


def locust_stays_in_loadtests(root: Path) -> list[str]:
    """Importing Locust patches the standard library, so that only the load tests' own process does."""
    return [
        f"{i.place}: {i.importer} imports {i.imported}; only loadtests may, in a process of its own"
        for i in imports(root, "probes", "runner", "demo", "tests")
        if within(i.imported, "locust", "gevent")
    ]


def loadtests_share_only_judgement_and_journeys(root: Path) -> list[str]:
    """The load tests import judge, journeys, assertions, a target's rules and TLS, the redactor, and what those stand on."""
    doors = ("judge", "probes.journeys.play", "probes.expect.assertions", "probes.target", "probes.wire.tls", "judge.redact")
    allowed = {*doors, *(name for door in doors for name in reached(root, door))}
    return [
        f"{i.place}: {i.importer} imports {i.imported}; loadtests may import {', '.join(doors)}"
        for i in imports(root, "loadtests")
        if within(i.imported, "probes", "runner", "tests")
        and i.imported not in ("probes", "runner")
        and i.imported not in allowed
        and i.imported.rpartition(".")[0] not in allowed
        and not within(i.imported, *doors)
    ]


def nothing_ships_its_tests(root: Path) -> list[str]:
    """Tests are imported by tests alone."""
    return [
        f"{i.place}: {i.importer} imports {i.imported}"
        for i in imports(root, "probes", "runner", "demo", "loadtests")
        if within(i.imported, "tests", "pytest", "hypothesis")
    ]


RULES = (
    probes_know_no_room,
    the_ground_stands_on_nothing,
    journeys_do_no_io,
    rooms_import_from_below,
    only_the_command_knows_the_demo,
    locust_stays_in_loadtests,
    loadtests_share_only_judgement_and_journeys,
    nothing_ships_its_tests,
)
Rule = Callable[[Path], list[str]]


@pytest.mark.slow
def test_the_house_keeps_its_doors() -> None:
    """No module of the project comes in by a door that HOUSE.md keeps shut."""
    assert [breach for rule in RULES for breach in rule(ROOT)] == []


BREACHES: tuple[tuple[Rule, dict[str, str], str], ...] = (
    (
        probes_know_no_room,
        {"probes/kinds/http.py": "from judge.observation import Check"},
        "probes/kinds/http.py:1: probes.kinds.http imports judge.observation;",
    ),
    (probes_know_no_room, {"probes/kinds/http.py": "from probes import tcp", "probes/kinds/tcp.py": ""}, "probes.kinds.http imports probes.kinds.tcp;"),
    (probes_know_no_room, {"probes/kinds/http.py": "from . import tcp", "probes/kinds/tcp.py": ""}, "probes.kinds.http imports probes.kinds.tcp;"),
    (
        probes_know_no_room,
        {"probes/http/probe.py": "def f():\n    import demo.standin"},
        "probes/http/probe.py:2: probes.http.probe imports demo.standin;",
    ),
    (
        probes_know_no_room,
        {"probes/kinds/ai/__init__.py": "import importlib\nx = importlib.import_module('probes.kinds.http')"},
        "probes.kinds.ai imports probes.kinds.http;",
    ),
    (the_ground_stands_on_nothing, {"probes/core.py": "from probes.wire.wire import Wire"}, "probes.core imports probes.wire.wire;"),
    (journeys_do_no_io, {"probes/journeys/play.py": "import asyncio"}, "probes.journeys.play reaches asyncio;"),
    (
        journeys_do_no_io,
        {"probes/expect/assertions.py": "from probes.http.probe import ask", "probes/http/probe.py": "import httpx"},
        "probes/http/probe.py:1: probes.expect.assertions reaches httpx;",
    ),
    (rooms_import_from_below, {"judge/slo.py": "from runner.config.plan import Plan"}, "judge.slo imports runner.config.plan,"),
    (rooms_import_from_below, {"runner/sinks/health.py": "from runner.config import load"}, "runner.sinks.health imports runner.config,"),
    (rooms_import_from_below, {"runner/web/page.py": "from runner.gate import decide"}, "runner.web.page imports runner.gate,"),
    (rooms_import_from_below, {"runner/gate/rounds.py": "from ..cli import main"}, "runner.gate.rounds imports runner.cli,"),
    (rooms_import_from_below, {"runner/attic.py": "import json"}, "runner.attic stands on no floor;"),
    (only_the_command_knows_the_demo, {"runner/cli/run.py": "from demo.servers import Redis"}, "runner.cli.run imports demo.servers;"),
    (locust_stays_in_loadtests, {"runner/cli/load.py": "from locust.env import Environment"}, "runner.cli.load imports locust.env;"),
    (locust_stays_in_loadtests, {"tests/test_load.py": "import locust"}, "tests.test_load imports locust;"),
    (
        loadtests_share_only_judgement_and_journeys,
        {"loadtests/users.py": "from runner.engine.execute import Execute"},
        "loadtests.users imports runner.engine.execute;",
    ),
    (nothing_ships_its_tests, {"demo/standin.py": "from tests.support import ca"}, "demo.standin imports tests.support"),
)


@pytest.mark.parametrize(
    ("rule", "files", "breach"), BREACHES, ids=[f"{rule.__name__}-{number}" for number, (rule, _, _) in enumerate(BREACHES)]
)
def test_each_door_sees_who_breaks_in(tmp_path: Path, rule: Rule, files: dict[str, str], breach: str) -> None:
    """A rule that can't fail keeps nothing: each finds the breach that it is there for, and says where."""
    found = rule(build(tmp_path, files))
    assert any(breach in line for line in found), found


def test_each_door_lets_through_who_may_pass(tmp_path: Path) -> None:
    """The rules shut no door that HOUSE.md leaves open."""
    files = {
        "probes/core.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from probes.wire.wire import Wire",
        "probes/wire/wire.py": "import asyncio\nfrom probes.core import Probe",
        "probes/http/message.py": "",
        "probes/expect/assertions.py": "from probes import _exchange\nfrom probes.core import Failed",
        "probes/journeys/play.py": "from probes.http.message import Request",
        "probes/kinds/http.py": "import httpx\nfrom probes.wire.wire import Tls\nfrom ._core import Probe",
        "judge/observation.py": "from probes.core import Verdict",
        "judge/slo.py": "from judge.observation import Slo\nfrom judge import interval",
        "runner/sinks/metrics.py": "from judge.slo import count\nfrom probes.core import Family",
        "runner/web/page.py": "from runner.sinks.health import Health",
        "runner/cli/demo.py": "def demo():\n    from demo.standin import StandIn",
        "loadtests/users.py": "import locust\nfrom judge.slo import count\nfrom probes.journeys.play import play",
        "loadtests/report.py": "from probes.http.message import Answer",
        "tests/test_demo.py": "import demo.standin, pytest",
    }
    build(tmp_path, files)
    assert [breach for rule in RULES for breach in rule(tmp_path)] == []
