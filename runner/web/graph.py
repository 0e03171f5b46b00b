"""The graph of dependencies, laid out: a row for each check, below all that it depends on, and a lane for the lines that go on down.

It has the width of a phone, and needs no script. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.sinks.health import State
from runner.web.headline import DOWN, word

_ROW, _LANE, _BEND = 26, 14, 7  # pixels
_WIDTH = 300
_LETTER = 7.5  # pixels of a letter, about
_SHORTEST = 12  # letters of a name that are shown, however many lanes there are


@dataclass(frozen=True, slots=True)
class Node:
    """A check: its dot at `x`, its name at `text`, both at the height `y`."""

    name: str
    label: str  # the name, shortened to its place
    href: str
    word: str
    x: int
    y: int
    text: int
    says: str  # for whoever doesn't see the lines


@dataclass(frozen=True, slots=True)
class Edge:
    """A line from a check to one that depends on it, as the path of an SVG; `down` where both are down."""

    path: str
    down: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """All checks that depend on others, or on which others depend. Without any there is nothing to draw."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    width: int
    height: int


def graph(states: Sequence[State], now: float, href: Mapping[str, str]) -> Graph:
    """The graph of the plan's checks. `href` has the page of each check. There is no ring in it: checks.yaml would be refused."""
    there = {state.check.name: state for state in states if not state.check.part_of}
    above = {name: [one for one in dict.fromkeys(state.check.depends_on) if one in there] for name, state in there.items()}
    below: dict[str, list[str]] = {name: [] for name in there}
    for name, causes in above.items():
        for cause in causes:
            below[cause].append(name)
    rows = {name: row for row, name in enumerate(_ordered([name for name in there if above[name] or below[name]], above, below))}
    lanes: dict[str, int] = {}
    ends: dict[int, int] = {}  # by lane: the row of the last line that needs it
    for name, row in rows.items():
        lanes[name] = next(lane for lane in range(len(rows) + 1) if ends.get(lane, -1) < row)
        ends[lanes[name]] = max((rows[one] for one in below[name]), default=row)
    text = (max(lanes.values(), default=0) + 1) * _LANE + 6
    room = max(_SHORTEST, int((_WIDTH - text) / _LETTER))
    words = {name: word(there[name], now) for name in rows}
    nodes, edges = [], []
    for name, row in rows.items():
        x, y = _middle(lanes[name], row)
        says = f"{name} is {words[name]}" + (f"; it depends on {', '.join(above[name])}" if above[name] else "")
        label = name if len(name) <= room else f"{name[: room - 1]}…"
        nodes.append(Node(name, label, href[name], words[name], x, y, text, says))
        for cause in above[name]:
            left, top = _middle(lanes[cause], rows[cause])
            bend = min(_BEND, abs(x - left)) * (1 if x >= left else -1)
            path = f"M{left} {top}V{y - abs(bend)}Q{left} {y} {left + bend} {y}H{x}"
            edges.append(Edge(path, words[name] == words[cause] == DOWN))
    return Graph(tuple(nodes), tuple(edges), max(_WIDTH, text + round(_SHORTEST * _LETTER)), len(rows) * _ROW)


def _ordered(names: Sequence[str], above: Mapping[str, Sequence[str]], below: Mapping[str, Sequence[str]]) -> list[str]:
    """Each check after all that it depends on, and as near below them as can be."""
    waits = {name: len(above[name]) for name in names}
    ready = [name for name in reversed(names) if not waits[name]]
    found = []
    while ready:
        found.append(name := ready.pop())
        for one in reversed(below[name]):
            waits[one] -= 1
            if not waits[one]:
                ready.append(one)
    return found


def _middle(lane: int, row: int) -> tuple[int, int]:
    return lane * _LANE + _LANE // 2, row * _ROW + _ROW // 2
