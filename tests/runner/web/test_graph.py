"""The graph of dependencies on the page."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge.observation import Check, Observation
from runner.sinks.health import Health
from runner.web.graph import Graph, graph
from tests.support.observations import NOON, Hands, failed, made_check, made_plan, passed
from tests.support.site import Site, site


def drawn(*checks: Check, seen: tuple[Observation, ...] = ()) -> Graph:
    """The graph of these checks after a pass of each, and these runs."""
    health = Health(made_plan(*checks), Hands())
    for one in (*(passed(check) for check in checks), *seen):
        health(one)
    return graph(health.states(), NOON, {check.name: f"/checks/{check.name}" for check in checks})


DATABASE, CACHE = made_check("database"), made_check("cache")
API = made_check("api", depends_on=("database", "cache"))
TRIP = made_check("trip", depends_on=("api",))


def test_a_check_stands_below_those_that_it_depends_on() -> None:
    """Whatever their order in the file; a check without dependencies or dependants isn't drawn."""
    found = drawn(TRIP, API, DATABASE, CACHE, made_check("alone"))
    assert [node.name for node in found.nodes] == ["database", "cache", "api", "trip"]
    assert len(found.edges) == 3
    assert found.nodes[2].says == "api is up; it depends on database, cache"
    assert drawn(made_check("alone")).nodes == ()


def test_a_failure_that_another_explains_has_a_red_line() -> None:
    """Only between two checks that are both down."""
    found = drawn(DATABASE, CACHE, API, seen=(failed(DATABASE), failed(API)))
    assert [edge.down for edge in found.edges] == [True, False]
    assert [node.word for node in found.nodes] == ["down", "up", "down"]


@given(st.integers(1, 14).flatmap(lambda n: st.tuples(*(st.frozensets(st.integers(0, max(0, i - 1)), max_size=3) for i in range(n)))))
def test_lines_go_down_and_through_no_other_check(made: tuple[frozenset[int], ...]) -> None:
    """For any graph: one row a check, every line ends at its check, and its lane holds no other check's dot on the way."""
    checks = [made_check(f"c{i}", depends_on=tuple(f"c{j}" for j in above if j < i)) for i, above in enumerate(made)]
    found = drawn(*reversed(checks))
    at = {(node.x, node.y): node.name for node in found.nodes}
    assert len({node.y for node in found.nodes}) == len(found.nodes)
    assert len(found.edges) == sum(len(check.depends_on) for check in checks)
    for edge in found.edges:
        left, top, end, x = (int(number) for number in re.findall(r"^M(\d+) (\d+).*Q\d+ (\d+) .*H(\d+)$", edge.path)[0])
        assert top < end
        assert (left, top) in at
        assert (x, end) in at
        assert not [name for (column, row), name in at.items() if column == left and top < row < end]


@pytest.fixture
def here() -> Site:
    """A site of these checks: its templates are read before the loop runs."""
    return site(DATABASE, CACHE, API, TRIP)


@pytest.fixture
def alone() -> Site:
    """A site without dependencies."""
    return site(DATABASE)


async def test_the_page_draws_it_without_a_script(here: Site, alone: Site) -> None:
    """As SVG with a link to each check, and no wider than a phone; a page without dependencies has no such section."""
    page = (await here.ask("/")).text
    drawing = page[page.index('<svg class="graph"') : page.index("A check stands below")]
    assert "<script" not in page
    assert '<a href="/checks/api" aria-label="api is pending; it depends on database, cache">' in drawing
    assert drawing.count('<path class="edge"') == 3
    assert "dependencies" not in (await alone.ask("/")).text
    assert drawn(DATABASE, CACHE, API, TRIP).width <= 300
    long = [made_check("a-name-of-a-check-that-is-longer-than-a-line-of-a-phone", depends_on=("database",)), DATABASE]
    assert [node.label for node in drawn(*long).nodes] == ["database", "a-name-of-a-check-that-is-longer-t…"]
