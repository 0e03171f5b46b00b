"""The doors of the house, read from the imports. Each rule is a function from a tree to its breaches."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.support.tree import ROOT, Module, build, modules

PRODUCT = ("probes", "judge", "loadtests", "runner", "demo")  # from the ground: nobody imports from a room above his own
ROOMS = (*PRODUCT, "tests")

# Inside runner, from the ground. A room imports from floors below its own.
FLOORS = (
    {"state", "clock", "log", "terminal", "usage"},
    {"config"},
    {"sinks", "reports", "grafana"},
    {"engine"},
    {"gate", "load", "render", "shares"},
    {"web"},
    {"service"},
    {"cli"},
)
# What a kind may import of probes: public names and shared folders.
SHARED = ("probes.core", "probes.probe", "probes.families", "probes.fields", "probes.facts", "probes.target", "probes.text")
SHARED_FOLDERS = ("probes.wire", "probes.http", "probes.expect", "probes.journeys")


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: who imports it, and where. Imports within functions and for types alone count too."""

    importer: str
    imported: str
    place: str


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
    """Every import in these rooms."""
    return [found for found in all_imports(root) if within(found.importer, *rooms)]


@cache
def all_imports(root: Path) -> tuple[Import, ...]:
    """Every import in all rooms: a tree is read once."""
    found: list[Import] = []
    for module in (module for room in ROOMS for module in modules(root, room)):
        name = module.name
        package = name.split(".") if is_package(module) else name.split(".")[:-1]
        for node in (node for node in module.nodes if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)):
            place = f"{module.path}:{getattr(node, 'lineno', 0)}"
            found += [Import(name, imported, place) for imported in named_by(node, package)]
    return tuple(found)


def is_package(module: Module) -> bool:
    """Whether a module is the __init__.py of its folder."""
    return module.path.endswith("__init__.py")


@cache
def files(root: Path) -> dict[str, str]:
    """The path of every module of the product, by its name."""
    return {module.name: module.path for room in PRODUCT for module in modules(root, room)}


@cache
def arrows(root: Path) -> dict[str, dict[str, str]]:
    """From file to file: for each module the modules that it imports, with the place of the import."""
    known, found = files(root), {name: dict[str, str]() for name in files(root)}
    for i in imports(root, *PRODUCT):
        if i.imported in known and i.imported != i.importer:
            # `from package import module` names both; the arrow goes to the module alone
            found[i.importer].setdefault(i.imported, i.place)
    for importer, to in found.items():
        packages = [name for name, place in to.items() if any(o != name and o.startswith(f"{name}.") and to[o] == place for o in to)]
        found[importer] = {name: place for name, place in to.items() if name not in packages}
    return found


def within(module: str, *rooms: str) -> bool:
    """Whether a module is one of these, or lies in one of them."""
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def kind_of(module: str) -> str:
    """The kind that a module belongs to: probes.kinds.postgres for all of that folder; "" for what is no kind."""
    parts = module.split(".")
    return ".".join(parts[:3]) if parts[:2] == ["probes", "kinds"] and len(parts) > 2 else ""


def kinds_know_only_the_shared(root: Path) -> list[str]:
    """A kind imports the public names and shared folders of probes, files of its own folder, and never another kind."""
    return [
        f"{i.place}: {i.importer} imports {i.imported}; a kind imports probes' public names and shared folders, never another kind"
        for i in imports(root, "probes.kinds")
        if kind_of(i.importer)
        and within(i.imported, *ROOMS)
        and i.imported != "probes"
        and not (within(i.imported, *SHARED, *SHARED_FOLDERS) or i.imported.removeprefix("probes.") in public_names(root))
        and kind_of(i.imported) != kind_of(i.importer)
    ]


@cache
def public_names(root: Path) -> frozenset[str]:
    """What probes/__init__.py lists in __all__."""
    for module in modules(root, "probes"):
        if module.name == "probes":
            for node in module.tree.body:
                match node:
                    case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                        return frozenset(ast.literal_eval(value))
    return frozenset()


def the_shared_know_no_kind(root: Path) -> list[str]:
    """What kinds share names no kind, nor does anything above it: `discover` alone finds them."""
    return [
        f"{i.place}: {i.importer} imports {i.imported}; probes.discover alone knows the kinds"
        for i in imports(root, *PRODUCT)
        if kind_of(i.imported) and not kind_of(i.importer)
    ]


def the_ground_stands_on_nothing(root: Path) -> list[str]:
    """probes.core imports nothing of ours."""
    return [
        f"{i.place}: {i.importer} imports {i.imported}; the ground floor stands on nothing"
        for i in imports(root, "probes.core")
        if within(i.imported, *ROOMS)
    ]


def the_wire_knows_no_http(root: Path) -> list[str]:
    """Sockets stand below HTTP: what the HTTP client keeps in the wire, the wire doesn't know by name."""
    return [
        f"{i.place}: {i.importer} imports {i.imported}; the wire stands below HTTP"
        for i in imports(root, "probes.wire")
        if within(i.imported, "probes.http")
    ]


def reached(root: Path, start: str) -> dict[str, Import]:
    """What a module imports, and what those of ours import in turn: by name, with one importer."""
    by_importer: dict[str, list[Import]] = {}
    for found in imports(root, *ROOMS):
        by_importer.setdefault(found.importer, []).append(found)
    seen: dict[str, Import] = {}
    queue = [start]
    while queue:
        for found in by_importer.get(queue.pop(), []):
            if found.imported not in seen:
                seen[found.imported] = found
                queue.append(found.imported)
    return seen


def journeys_do_no_io(root: Path) -> list[str]:
    """journeys.play and expect.assertions reach neither asyncio nor httpx, themselves or through what they import."""
    return [
        f"{found.place}: {start} reaches {name}; gevent drives it too"
        for start in ("probes.journeys.play", "probes.expect.assertions")
        for name, found in reached(root, start).items()
        if within(name, "asyncio", "httpx")
    ]


def no_arrow_goes_up(root: Path) -> list[str]:
    """probes, judge, loadtests, runner, demo: each imports from those before it. The command `demo` alone starts the stand-in."""
    return [
        f"{i.place}: {i.importer} imports {i.imported}, which is not below it"
        for i in imports(root, *PRODUCT)
        if within(i.imported, *PRODUCT)
        and PRODUCT.index(i.imported.split(".")[0]) > PRODUCT.index(i.importer.split(".")[0])
        and not (i.importer == "runner.cli.demo" and within(i.imported, "demo"))
    ]


def floor_of(module: str) -> int | None:
    """The floor of a module of runner; None for one that has none."""
    room = module.removeprefix("runner.").split(".")[0] if within(module, "runner") else ""
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms), None)


def rooms_import_from_below(root: Path) -> list[str]:
    """A room of runner imports from lower floors and from itself."""
    found = [i for i in imports(root, "runner") if i.importer not in ("runner", "runner.__main__")]
    homeless = {
        f"{i.place}: {i.importer} stands on no floor; give its room one in HOUSE and here" for i in found if floor_of(i.importer) is None
    }
    from_above = {
        f"{i.place}: {i.importer} imports {i.imported}, which is not below it"
        for i in found
        if (own := floor_of(i.importer)) is not None
        and (other := floor_of(i.imported)) is not None
        and i.importer.split(".")[1] != i.imported.split(".")[1]
        and other >= own
    }
    return sorted(homeless | from_above)


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The strongly connected parts of more than one module (Tarjan's algorithm)."""
    found: list[list[str]] = []
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in graph[name]:
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            part = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            found.extend([sorted(part)] if len(part) > 1 else [])

    for name in graph:
        if name not in order:
            visit(name)
    return found


def no_circle_of_files(root: Path) -> list[str]:
    """No file imports another that imports it in turn, for types neither."""
    graph = arrows(root)
    return [
        f"{graph[one][other]}: {one} imports {other}, in a circle of {', '.join(circle)}"
        for circle in circles(graph)
        for one in circle
        for other in graph[one]
        if other in circle
    ]


def private_means_private_to_its_folder(root: Path) -> list[str]:
    """A module whose name begins with an underscore is imported by its own folder alone."""
    breaches = []
    for i in imports(root, *PRODUCT):
        parts = i.imported.split(".")
        private = next((n for n, part in enumerate(parts) if part.startswith("_") and not part.startswith("__")), None)
        if private is None or not within(i.imported, *PRODUCT) or ".".join(parts[: private + 1]) not in files(root):
            continue
        if not within(i.importer, ".".join(parts[:private])):
            breaches.append(f"{i.place}: {i.importer} imports {i.imported}, which is private to its folder")
    return breaches


def locust_stays_in_loadtests(root: Path) -> list[str]:
    """Importing Locust patches the standard library, so that only the load tests' own process does."""
    return [
        f"{i.place}: {i.importer} imports {i.imported}; only loadtests may, in a process of its own"
        for i in imports(root, "probes", "judge", "runner", "demo", "tests")
        if within(i.imported, "locust", "gevent")
    ]


def nothing_ships_its_tests(root: Path) -> list[str]:
    """Tests are imported by tests alone."""
    return [
        f"{i.place}: {i.importer} imports {i.imported}"
        for i in imports(root, *PRODUCT)
        if within(i.imported, "tests", "pytest", "hypothesis")
    ]


RULES = (
    kinds_know_only_the_shared,
    the_shared_know_no_kind,
    the_wire_knows_no_http,
    the_ground_stands_on_nothing,
    journeys_do_no_io,
    no_arrow_goes_up,
    rooms_import_from_below,
    no_circle_of_files,
    private_means_private_to_its_folder,
    locust_stays_in_loadtests,
    nothing_ships_its_tests,
)
Rule = Callable[[Path], list[str]]


@pytest.mark.slow
def test_the_house_keeps_its_doors() -> None:
    """No module of the project comes in by a door that HOUSE.md keeps shut."""
    assert [breach for rule in RULES for breach in rule(ROOT)] == []


BREACHES: tuple[tuple[Rule, dict[str, str], str], ...] = (
    (
        kinds_know_only_the_shared,
        {"probes/kinds/http.py": "from probes.kinds import tcp", "probes/kinds/tcp.py": ""},
        "probes/kinds/http.py:1: probes.kinds.http imports probes.kinds.tcp;",
    ),
    (
        kinds_know_only_the_shared,
        {"probes/kinds/http.py": "from . import tcp", "probes/kinds/tcp.py": ""},
        "probes.kinds.http imports probes.kinds.tcp;",
    ),
    (
        kinds_know_only_the_shared,
        {"probes/kinds/ai/__init__.py": "from probes.kinds.dns.exchange import ask"},
        "probes.kinds.ai imports probes.kinds.dns.exchange;",
    ),
    (
        kinds_know_only_the_shared,
        {"probes/kinds/ai/__init__.py": "import importlib\nx = importlib.import_module('probes.kinds.http')"},
        "probes.kinds.ai imports probes.kinds.http;",
    ),
    (
        kinds_know_only_the_shared,
        {"probes/kinds/http.py": "from judge.observation import Check"},
        "probes.kinds.http imports judge.observation;",
    ),
    (
        the_shared_know_no_kind,
        {"probes/http/session.py": "from probes.kinds import http"},
        "probes.http.session imports probes.kinds.http;",
    ),
    (the_shared_know_no_kind, {"runner/gate/local.py": "import probes.kinds.ai.chat"}, "runner.gate.local imports probes.kinds.ai.chat;"),
    (
        the_wire_knows_no_http,
        {"probes/wire/wire.py": "from probes.http.oauth2 import Tokens"},
        "probes.wire.wire imports probes.http.oauth2;",
    ),
    (the_ground_stands_on_nothing, {"probes/core.py": "from probes.families import Family"}, "probes.core imports probes.families;"),
    (journeys_do_no_io, {"probes/journeys/play.py": "import asyncio"}, "probes.journeys.play reaches asyncio;"),
    (
        journeys_do_no_io,
        {"probes/expect/assertions.py": "from probes.http.message import ask", "probes/http/message.py": "import httpx"},
        "probes/http/message.py:1: probes.expect.assertions reaches httpx;",
    ),
    (
        no_arrow_goes_up,
        {"probes/kinds/http.py": "def f():\n    import demo.standin"},
        "probes/kinds/http.py:2: probes.kinds.http imports demo.standin,",
    ),
    (no_arrow_goes_up, {"judge/slo.py": "from runner.config.plan import Plan"}, "judge.slo imports runner.config.plan,"),
    (
        no_arrow_goes_up,
        {"loadtests/users.py": "from runner.engine.execute import Execute"},
        "loadtests.users imports runner.engine.execute,",
    ),
    (
        no_arrow_goes_up,
        {"probes/wire/wire.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from judge.slo import event"},
        "probes/wire/wire.py:3: probes.wire.wire imports judge.slo,",
    ),
    (no_arrow_goes_up, {"runner/cli/run.py": "from demo.servers import Redis"}, "runner.cli.run imports demo.servers,"),
    (
        rooms_import_from_below,
        {"runner/sinks/health.py": "from runner.engine import execute"},
        "runner.sinks.health imports runner.engine,",
    ),
    (rooms_import_from_below, {"runner/web/page.py": "from runner.service import service"}, "runner.web.page imports runner.service,"),
    (rooms_import_from_below, {"runner/gate/rounds.py": "from ..cli import main"}, "runner.gate.rounds imports runner.cli,"),
    (rooms_import_from_below, {"runner/attic.py": "import json"}, "runner.attic stands on no floor;"),
    (
        no_circle_of_files,
        {"demo/a.py": "from demo import b", "demo/b.py": "import demo.c", "demo/c.py": "from demo.a import x"},
        "demo/a.py:1: demo.a imports demo.b, in a circle of demo.a, demo.b, demo.c",
    ),
    (
        no_circle_of_files,
        {"demo/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from demo.b import B", "demo/b.py": "from demo.a import A"},
        "demo/a.py:3: demo.a imports demo.b, in a circle of demo.a, demo.b",
    ),
    (
        private_means_private_to_its_folder,
        {"runner/cli/run.py": "from runner.state._file import open_state", "runner/state/_file.py": ""},
        "runner.cli.run imports runner.state._file, which is private",
    ),
    (locust_stays_in_loadtests, {"runner/cli/load.py": "from locust.env import Environment"}, "runner.cli.load imports locust.env;"),
    (locust_stays_in_loadtests, {"tests/test_load.py": "import locust"}, "tests.test_load imports locust;"),
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
        "probes/__init__.py": "from probes.core import Failed\nfrom probes.probe import Probe\n__all__ = ['Failed', 'Probe', 'discover']",
        "probes/core.py": "import enum",
        "probes/probe.py": "from probes.wire.wire import Wire",
        "probes/wire/wire.py": "import asyncio\nfrom probes.core import Failed",
        "probes/http/message.py": "",
        "probes/http/session.py": "import httpx\nfrom probes.probe import Context",
        "probes/expect/assertions.py": "from probes.http import message\nfrom probes.core import Failed",
        "probes/journeys/play.py": "from probes.http.message import Request",
        "probes/kinds/http.py": "import httpx\nfrom probes import Failed, Probe\nfrom probes.http.session import ask",
        "probes/kinds/ai/__init__.py": "from probes.kinds.ai import chat\nfrom probes.kinds.ai.chat import read",
        "probes/kinds/ai/chat.py": "",
        "judge/observation.py": "from probes.core import Verdict",
        "judge/slo.py": "from judge.observation import Slo\nfrom judge import interval",
        "runner/state/__init__.py": "from runner.state._file import open_state",
        "runner/state/_file.py": "",
        "runner/sinks/metrics.py": "from judge.slo import count\nfrom probes.core import Verdict\nfrom runner.config.plan import Plan",
        "runner/web/page.py": "from runner.sinks.health import Health",
        "runner/cli/demo.py": "def demo():\n    from demo.standin import StandIn",
        "runner/load/process.py": "from loadtests.order import Order",
        "loadtests/users.py": "import locust\nfrom judge.slo import count\nfrom probes.journeys.play import play",
        "tests/test_demo.py": "import demo.standin, pytest",
    }
    build(tmp_path, files)
    assert [breach for rule in RULES for breach in rule(tmp_path)] == []
