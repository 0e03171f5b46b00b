"""Fills in the placeholders of one part of the tree. An example of its field stands for a value that isn't there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from runner.config import placeholders, secret_names
from runner.config.annotations import example, inside
from runner.config.errors import Path, Problem
from runner.config.nodes import Items, Keys, Node

UNFILLED = "unfilled"  # stands in a text for a value that isn't there
_UNFILLED_PORT = re.compile(rf":{UNFILLED}(?=[/?#]|\Z)")


@dataclass(slots=True)
class Filling:
    """What is known of a part's values once they are filled in; `path` leads to the part."""

    path: Path
    source: placeholders.Source
    origins: dict[int, placeholders.Filled] = field(default_factory=dict)  # of scalars whose value comes from elsewhere, by id
    missing: set[Path] = field(default_factory=set)  # places inside the part whose value isn't there
    problems: list[Problem] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)

    def data(self, node: Node, annotation: Any, path: Path = ()) -> Any:
        """The plain data of a tree with its placeholders filled in. `annotation` is what the model says of this place."""
        if isinstance(node, Keys):
            for key, entry in node.entries.items():
                if "${" in key:
                    self._report(Problem(entry.at, (*path, key), "a key can't come from a variable"))
            return {key: self.data(entry.node, inside(annotation, key), (*path, key)) for key, entry in node.entries.items()}
        if isinstance(node, Items):
            return [self.data(item, inside(annotation, index), (*path, index)) for index, item in enumerate(node.items)]
        if "${" not in node.text:
            return node.value
        template: placeholders.Template | None = None
        try:
            template = placeholders.parse(node.text)
            filled = placeholders.fill(template, self.source)
        except placeholders.Unfilled as problem:
            if template is None or not self.source.dry:
                at = node.holes[problem.hole] if problem.hole < len(node.holes) else node.at
                self._report(Problem(at, path, problem.message))
            self.missing.add(path)
            return _stand_in(placeholders.outline(template, UNFILLED) if template else UNFILLED, example(annotation))
        self.origins[id(node)] = filled
        self.secrets |= filled.secrets | set(secret_names.of_url(filled.text))
        if "expect" not in path and not {"headers", "query"}.isdisjoint(path[:-1]):
            self.secrets |= set(filled.values)
        elif filled.text.startswith(("/", "?")) or "://" in filled.text:
            self.secrets |= set(filled.queried)
        return filled.text

    def _report(self, problem: Problem) -> None:
        self.problems.append(Problem(problem.at, self.path + problem.path, problem.message))


def _stand_in(text: str, known: str | None) -> str:
    """What stands for a value that isn't there. `text` is what is written out of it, `known` an example of the field.

    Of a text all that is written out stays, since rules and names are held against it; an address whose beginning isn't there
    begins as the example does.
    """
    if known is None:
        return text
    if "://" not in known:
        return known
    return known + text.removeprefix(UNFILLED) if text.startswith(UNFILLED) else _UNFILLED_PORT.sub(":1", text)
