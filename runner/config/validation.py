"""Turns parts of the tree into validated models, and gathers every problem and every secret on the way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from runner.config import messages, placeholders, secret_names
from runner.config.errors import Mark, Path, PlanError, Problem, did_you_mean
from runner.config.filling import ROUNDS, Filling, Sketch
from runner.config.nodes import Keys, Node, Scalar, find, scalars

M = TypeVar("M", bound=BaseModel)

ALREADY_SAID = "already_said"  # the type of an error about something that was reported where it stands
_SHORTEST = 4  # signs of a secret that is looked for within a message of another place; a shorter one stands in every sentence
_TELLING = frozenset({"value_error", "literal_error", "enum"})


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the file that makes one model: where it stands, and what a person calls it ("kind redis", "a target")."""

    node: Node
    path: Path
    at: Mark  # of its key
    what: str
    also_known: Collection[str] = ()  # keys that go there beside the model's own


class Reading:
    """One load of one file: its tree, where its values come from, and what was found so far."""

    def __init__(self, file: FilePath, root: Keys, environ: Mapping[str, str]) -> None:
        self.file, self.root, self.environ = file, root, environ
        self.real = placeholders.Real(environ, file.parent)
        self.problems: list[Problem] = []
        self.secrets: set[str] = set()
        self.filled_in: set[str] = set()  # texts that hold a value from elsewhere

    def report(self, at: Mark, path: Path, message: str, *, option: str = "") -> None:
        """Notes a problem; the load goes on, to find them all."""
        self.problems.append(Problem(at, path, message, option))

    def finish(self) -> frozenset[str]:
        """The secrets worth redacting, where no problem was found. Raises PlanError, without a secret in it."""
        found = frozenset(filter(secret_names.worth_redacting, self.secrets))
        if self.problems:
            shown = [secret for secret in found if len(secret) >= _SHORTEST]
            clean = [Problem(p.at, p.path, _without(p.message, shown), p.option) for p in self.problems]
            raise PlanError(str(self.file), clean)
        return found

    def validated(
        self,
        model: type[M],
        part: Part,
        *,
        sketch: Sketch = None,
        context: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> tuple[M, Any] | None:
        """The model that a part of the tree makes, and the plain data that it was made of; None after a problem.

        In a `sketch` texts stand in for values that aren't there: nothing is said about those, and None may come
        without a problem where no stand-in fits. `extra` goes into the model beside what is written.
        """
        if not isinstance(part.node, Keys):
            self.report(part.node.at, part.path, "must be a mapping of keys to values")
            return None
        self._say_empty(part.node, part.path)
        filling = Filling(self, part.path, sketch=sketch)
        errors: list[Any] = []
        for _ in range(ROUNDS):
            data = filling.data(part.node)
            try:
                made = model.model_validate({**data, **(extra or {})}, context=dict(context or {}))
            except ValidationError as error:
                errors = error.errors(include_url=False, include_input=False)
            else:
                return (made, data) if sketch is not None or not filling.standing else None
            caused = {scalar for one in errors for scalar in _causes(one, part, filling.standing)}
            if sketch is None or not caused:
                break
            filling.advance(caused)
        self._say([one for one in errors if not _causes(one, part, filling.standing) and one["type"] != ALREADY_SAID], model, part, filling)
        return None

    def _say_empty(self, node: Keys, path: Path) -> None:
        """A key without a value is a line that somebody forgot: it never means the default."""
        for key, entry in node.entries.items():
            if isinstance(entry.node, Scalar) and entry.node.value is None:
                self.report(entry.node.at, (*path, key), messages.EMPTY)

    def _say(self, errors: list[Any], model: type[BaseModel], part: Part, filling: Filling) -> None:
        """Reports pydantic's errors; of several about one place (the branches of a union) the one that says most."""
        best: dict[Path, tuple[int, Mark, str]] = {}
        for error in errors:
            walked, at, node = find(part.node, part.at, error["loc"])
            if error["type"] == "missing":
                found = (1, at, "is missing")
                walked = (*walked, str(error["loc"][-1]))
            elif error["type"] == "extra_forbidden":
                found = (1, at, _unknown_key(walked, model, part))
            else:
                message = _concealed(messages.message(error, node), node, filling)
                found = (2 if error["type"] in _TELLING else 1, node.at if walked else at, message)
            if walked not in best or best[walked][0] < found[0]:
                best[walked] = found
        for walked, (_, at, message) in best.items():
            self.report(at, part.path + walked, message)


def _unknown_key(walked: Path, model: type[BaseModel], part: Part) -> str:
    """`no such setting of kind redis; did you mean round_trip?`."""
    top = len(walked) == 1
    known = {*messages.known_keys(model, walked[:-1]), *(part.also_known if top else ())}
    owner = part.what if top else _owner(walked)
    return f"no such setting of {owner}{did_you_mean(str(walked[-1]), known)}"


def _owner(walked: Path) -> str:
    """What a key deeper down belongs to: the nearest key above it, or the step."""
    names = [word for word in walked[:-1] if isinstance(word, str)]
    if isinstance(walked[-2], int):
        return "a step" if names[-1:] == ["steps"] else f"an item of {names[-1]}"
    return names[-1]


def _concealed(message: str, node: Node, filling: Filling) -> str:
    """A message about a filled-in value: it says where the value came from, and never repeats a secret."""
    filled = filling.filled.get(id(node))
    if filled is None:
        return message
    source = " and ".join(f"${{{name}}}" if name != placeholders.FROM_FILE else "a file" for name in dict.fromkeys(filled.names))
    if any(secret and secret in message for secret in filled.secrets):
        return f"the value from {source} doesn't fit (it is not shown)"
    return f"{message} (the value comes from {source})"


def _causes(error: Any, part: Part, standing: Mapping[int, int]) -> list[int]:
    """The stand-ins that an error is about: then it says nothing about the file."""
    if not standing or error["type"] in {"missing", "extra_forbidden"}:
        return []
    _, _, found = find(part.node, part.at, error["loc"])
    return [id(scalar) for scalar in scalars(found) if id(scalar) in standing]


def _without(message: str, found: Collection[str]) -> str:
    for secret in sorted(found, key=len, reverse=True):
        message = message.replace(secret, "[secret]")
    return message
