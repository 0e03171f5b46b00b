"""Turns parts of the tree into validated models, and gathers every problem and every secret on the way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from runner.plan import secrets, values, wording
from runner.plan.errors import Mark, Path, PlanError, Problem, did_you_mean
from runner.plan.nodes import Items, Keys, Node, Scalar, find, scalars

M = TypeVar("M", bound=BaseModel)

# What may stand in for a value that isn't there, tried in turn until the field takes it.
_STAND_INS = ("stand-in", "1", "true", "1s", "1/1h", "1%", "1KiB", "http://stand-in.invalid",
              "redis://stand-in.invalid", "postgresql://stand-in@stand-in.invalid/stand-in", "stand-in.invalid:1")  # fmt: skip
_FIRST_ADDRESS = _STAND_INS.index("http://stand-in.invalid")
_ADDRESSES = frozenset({"url", "dsn"})
_ROUNDS = 3 * len(_STAND_INS)
ALREADY_SAID = "already_said"  # the type of an error about something that was reported where it stands


class Filling:
    """The values of one part of the tree. `standing` are the scalars whose value isn't there, with the stand-in they have."""

    def __init__(self, reading: Reading, root: Keys, path: Path, *, sketch: bool) -> None:
        self._reading, self._root, self._path, self._sketch = reading, root, path, sketch
        self.filled: dict[int, values.Filled] = {}
        self.standing: dict[int, int] = {}
        self._addresses: set[int] = set()

    def data(self, node: Node, key: str = "") -> Any:
        """The plain data of a tree, placeholders filled in."""
        if isinstance(node, Keys):
            return {key: self.data(entry.node, key) for key, entry in node.entries.items()}
        if isinstance(node, Items):
            return [self.data(item) for item in node.items]
        return self._scalar(node, key) if "${" in node.text else node.value

    def _scalar(self, node: Scalar, key: str) -> str:
        if id(node) in self.standing:
            return self._stand_in(node)
        try:
            source = values.StandIns(self._reading.environ, "") if self._sketch else self._reading.real
            filled = values.fill(values.parse(node.text), source)
        except values.Unfilled as problem:
            at = node.holes[problem.hole] if problem.hole < len(node.holes) else node.at
            self._reading.report(at, self._path + (_way(self._root, node) or ()), problem.message)
            return self._stand(node, key)
        if isinstance(source, values.StandIns) and source.used:
            return self._stand(node, key)
        self.filled[id(node)] = filled
        self._reading.secrets |= filled.secrets | set(secrets.of_url(filled.text))
        return filled.text

    def _stand(self, node: Scalar, key: str) -> str:
        if key in _ADDRESSES:
            self._addresses.add(id(node))
        self.standing[id(node)] = _FIRST_ADDRESS if key in _ADDRESSES else 0
        return self._stand_in(node)

    def _stand_in(self, node: Scalar) -> str:
        text = _STAND_INS[self.standing[id(node)] % len(_STAND_INS)]
        try:
            return values.fill(values.parse(node.text), values.StandIns(self._reading.environ, text)).text
        except values.Unfilled:
            return text

    def advance(self, nodes: Collection[int]) -> None:
        """Gives each of these the next stand-in: of several the addresses, since a whole section complains of those."""
        for node in (self._addresses & set(nodes)) or nodes:
            self.standing[node] += 1


def _way(root: Node, wanted: Node) -> Path | None:
    """The path from a tree's root to a node in it."""
    stack: list[tuple[Node, Path]] = [(root, ())]
    while stack:
        node, path = stack.pop()
        if node is wanted:
            return path
        if isinstance(node, Keys):
            stack.extend((entry.node, (*path, key)) for key, entry in node.entries.items())
        elif isinstance(node, Items):
            stack.extend((item, (*path, index)) for index, item in enumerate(node.items))
    return None


class Reading:
    """One load of one file: its tree, where its values come from, and what was found so far."""

    def __init__(self, file: FilePath, root: Keys, environ: Mapping[str, str]) -> None:
        self.file, self.root, self.environ = file, root, environ
        self.real = values.Real(environ, file.parent)
        self.problems: list[Problem] = []
        self.secrets: set[str] = set()

    def report(self, at: Mark, path: Path, message: str, *, option: str = "") -> None:
        self.problems.append(Problem(at, path, message, option))

    def finish(self) -> frozenset[str]:
        """The secrets worth redacting, where no problem was found. Raises PlanError, without a secret in it."""
        found = frozenset(filter(secrets.worth_redacting, self.secrets))
        if self.problems:
            clean = [Problem(p.at, p.path, _without(p.message, found), p.option) for p in self.problems]
            raise PlanError(str(self.file), clean)
        return found

    def validated(
        self,
        model: type[M],
        node: Node,
        path: Path,
        at: Mark,
        *,
        what: str,
        sketch: bool = False,
        context: Mapping[str, Any] | None = None,
        also_known: Collection[str] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> tuple[M, Any] | None:
        """The model that a part of the tree makes, and the plain data that it was made of; None after a problem.

        `sketch` lets texts stand in for values that aren't there: nothing is said about those, and None may come
        without a problem where no stand-in fits. `extra` goes into the model beside what is written.
        """
        if not isinstance(node, Keys):
            self.report(node.at, path, "must be a mapping of keys to values")
            return None
        filling = Filling(self, node, path, sketch=sketch)
        errors: list[Any] = []
        for _ in range(_ROUNDS):
            data = filling.data(node)
            try:
                made = model.model_validate({**data, **(extra or {})}, context=dict(context or {}))
            except ValidationError as error:
                errors = error.errors(include_url=False, include_input=False)
            else:
                return (made, data) if sketch or not filling.standing else None
            caused = {scalar for one in errors for scalar in _causes(one, node, at, filling.standing)}
            if not sketch or not caused:
                break
            filling.advance(caused)
        own = [one for one in errors if not _causes(one, node, at, filling.standing) and one["type"] != ALREADY_SAID]
        self._say(own, model, node, path, at, what, filling, also_known)
        return None

    def _say(
        self,
        errors: list[Any],
        model: type[BaseModel],
        node: Keys,
        path: Path,
        at: Mark,
        what: str,
        filling: Filling,
        also_known: Collection[str],
    ) -> None:
        """Reports pydantic's errors; of several about one place (the branches of a union) the one that says most."""
        best: dict[Path, tuple[int, Mark, str]] = {}
        for error in errors:
            walked, place, found = find(node, at, error["loc"])
            rank, message = 1, ""
            key = walked
            if error["type"] == "extra_forbidden":
                parent = error["loc"][:-1]
                known = {*wording.known_keys(model, _indexed(parent, node)), *(also_known if len(walked) == 1 else ())}
                owner = what if len(walked) == 1 else str(next((p for p in reversed(walked[:-1]) if isinstance(p, str)), what))
                message = f"no such setting of {owner}{did_you_mean(str(walked[-1]), known)}"
            elif error["type"] == "missing":
                key = (*walked, str(error["loc"][-1]))
                message = "is missing"
            else:
                place = found.at if walked else at
                rank = 2 if error["type"] in {"value_error", "literal_error"} else 1 if found is not node else 0
                message = self._concealed(wording.message(error, found), found, filling)
            if key not in best or best[key][0] < rank:
                best[key] = (rank, place, message)
        for key, (_, place, message) in best.items():
            self.report(place, path + key, message)

    @staticmethod
    def _concealed(message: str, node: Node, filling: Filling) -> str:
        """A message about a filled-in value: it says where the value came from, and never repeats a secret."""
        filled = filling.filled.get(id(node))
        if filled is None:
            return message
        source = " and ".join(f"${{{name}}}" if name != "file" else "the file" for name in dict.fromkeys(filled.names))
        if any(secret and secret in message for secret in filled.secrets):
            return f"the value from {source} doesn't fit (it is not shown)"
        return f"{message} (the value comes from {source})" if source else message


def _causes(error: Any, node: Keys, at: Mark, standing: Mapping[int, int]) -> list[int]:
    """The stand-ins that an error is about: then it says nothing about the file."""
    if not standing or error["type"] in {"missing", "extra_forbidden"}:
        return []
    _, _, found = find(node, at, error["loc"])
    return [id(scalar) for scalar in scalars(found) if id(scalar) in standing]


def _indexed(loc: Path, node: Node) -> Path:
    """A location without the names that pydantic gives to the branches of a union."""
    return find(node, node.at, loc)[0]


def _without(message: str, found: Collection[str]) -> str:
    for secret in sorted(found, key=len, reverse=True):
        message = message.replace(secret, "[secret]")
    return message
