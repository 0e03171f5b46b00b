"""Names that refer to one another: checks, what they depend on, and what a part is compared with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from probes.text import unknown
from runner.config.errors import Path
from runner.config.filling import UNFILLED
from runner.config.nodes import Entry, Items, Keys, Node
from runner.config.plan import Planned
from runner.config.validation import Reading

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*\Z")
LONGEST_NAME = 63
NAME_RULE = f"a name has small letters, digits and - (not first), at most {LONGEST_NAME} of them"


def is_name(text: str) -> bool:
    """Whether a check, a target or an SLO can be called so."""
    return _NAME.match(text) is not None and len(text) <= LONGEST_NAME


def judge_names(reading: Reading, section: str, node: Keys) -> None:
    """Names become labels, file names and words of the command line: small letters, digits and dashes."""
    for entry in node.entries.values():
        if not is_name(entry.key):
            reading.report(entry.at, (section, entry.key[:LONGEST_NAME]), NAME_RULE)


def judge_references(reading: Reading, entries: Mapping[str, Entry], plans: Mapping[str, Planned]) -> None:
    """Reports what is compared with a check that isn't there, and what depends on itself in the end.

    Each ring of dependencies is reported once, at the member that comes first in the file.
    """
    for name, plan in plans.items():
        for part in plan.parts:
            if part.compare_with not in (*entries, "") and UNFILLED not in part.compare_with:
                path = _path_to(entries[name].node, part.compare_with)
                reading.report_inside(entries[name], ("checks", name), path, unknown(part.compare_with, "check", entries))
    place = {name: index for index, name in enumerate(plans)}
    for ring in rings({name: plan.check.depends_on for name, plan in plans.items()}):
        start = min(range(len(ring)), key=lambda index: place[ring[index]])
        turned = [*ring[start:], *ring[:start], ring[start]]
        text = f"depends on itself: {' -> '.join(turned)}"
        reading.report_inside(entries[turned[0]], ("checks", turned[0]), ("depends_on",), text)


def _path_to(root: Node, word: str) -> Path:
    """Where `compare_with: word` stands inside a check."""
    stack: list[tuple[Node, Path]] = [(root, ())]
    while stack:
        node, path = stack.pop()
        if path and path[-1] == "compare_with" and getattr(node, "text", None) == word:
            return path
        if isinstance(node, Keys):
            stack.extend((entry.node, (*path, key)) for key, entry in node.entries.items())
        elif isinstance(node, Items):
            stack.extend((item, (*path, index)) for index, item in enumerate(node.items))
    return ()


def rings(edges: Mapping[str, tuple[str, ...]]) -> Iterator[list[str]]:
    """The rings that a walk over all edges closes; each edge is walked once."""
    done: set[str] = set()
    for start in edges:
        trail = {} if start in done else {start: iter(edges[start])}  # in the order of the walk
        while trail:
            name, rest = next(reversed(trail.items()))
            following = next(rest, None)
            if following is None:
                done.add(name)
                del trail[name]
            elif following in trail:
                walked = list(trail)
                yield walked[walked.index(following) :]
            elif following in edges and following not in done:
                trail[following] = iter(edges[following])
