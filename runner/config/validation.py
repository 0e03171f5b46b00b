"""Turns parts of the tree into validated models, and gathers every problem and every secret on the way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from runner.config import messages, secret_names
from runner.config.annotations import known_keys
from runner.config.errors import Path, PlanError, Position, Problem
from runner.config.filling import Filling
from runner.config.nodes import Entry, Keys, Node, Scalar, find
from runner.config.placeholders import Environment, Source
from runner.config.target_files import TargetFiles

M = TypeVar("M", bound=BaseModel)

ALREADY_REPORTED = "already_reported"  # the type of an error about something that was reported where it stands
_SHORTEST = 4  # characters of a secret that is looked for within a message of another place; a shorter one stands in every sentence
_SAYS_MOST = frozenset({"value_error", "literal_error", "enum"})


@dataclass(frozen=True, slots=True)
class ConfigPart:
    """A part of the file that makes one model: where it stands, and what a person calls it ("kind redis", "a target")."""

    node: Node
    path: Path
    at: Position  # of its key
    what: str
    also_known: Collection[str] = ()  # keys that go there beside the model's own


class Valid(NamedTuple, Generic[M]):
    """A model, the plain data that it was made of, and the places inside it whose values aren't there (in a dry run alone)."""

    model: M
    data: Any
    missing: frozenset[Path]


class Reading:
    """One reading of checks.yaml: its tree, where its values come from, and what was found so far.

    `included` are the files and folders that the tree was made of, beside `file`; `targets` reads files with targets.
    """

    def __init__(
        self,
        file: FilePath,
        root: Keys,
        environ: Mapping[str, str],
        included: tuple[FilePath, ...] = (),
        targets: TargetFiles | None = None,
    ) -> None:
        self.file, self.root, self.environ = file, root, environ
        self.targets = targets or TargetFiles()
        self._included = included
        self.environment = Environment(environ, file.parent)
        self.problems: list[Problem] = []
        self.secrets: set[str] = set()
        self.filled_in: set[str] = set()  # texts that hold a value from elsewhere
        self.made: dict[str, str] = {}  # checks that a for_each made, with the name that it is written under

    def report(self, at: Position, path: Path, message: str, *, option: str = "") -> None:
        """Notes a problem; reading goes on, to find them all."""
        self.problems.append(Problem(at, path, message, option))

    def report_inside(self, entry: Entry, base: Path, path: Path, message: str) -> None:
        """Notes a problem at the value that `path` names inside an entry, or as near to it as the tree goes. `base` leads to the entry."""
        walked, at, node = find(entry.node, entry.at, path)
        self.report(node.at if walked else at, base + path, message)

    def finish(self) -> frozenset[str]:
        """The secrets worth redacting, where no problem was found. Raises PlanError, without a secret in it."""
        found = frozenset(filter(secret_names.worth_redacting, self.secrets))
        if not self.problems:
            return found
        hidden = sorted((secret for secret in found if len(secret) >= _SHORTEST), key=len, reverse=True)
        clean, of_all = [], set()
        for problem in self.problems:
            if len(problem.path) > 1 and (group := self.made.get(str(problem.path[1]))):  # a mistake of all that it made is told once
                same = (group, problem.at, problem.path[2:], problem.message)
                if same in of_all:
                    continue
                of_all.add(same)
            message = problem.message
            for secret in hidden:
                message = message.replace(secret, "[secret]")
            clean.append(Problem(problem.at, problem.path, message, problem.option))
        raise PlanError(str(self.file), clean, self.files())

    def files(self) -> tuple[FilePath, ...]:
        """Those that were read beside checks.yaml, and the folders that were searched: a change of one may change the plan."""
        return (*self._included, *self.environment.files(), *self.targets.paths)

    def section(self, name: str, model: type[M], source: Source) -> Valid[M] | None:
        """The section of this name, where the file has it."""
        entry = self.root.entries.get(name)
        return self.validated(model, ConfigPart(entry.node, (name,), entry.at, name), source) if entry else None

    def validated(
        self,
        model: type[M],
        part: ConfigPart,
        source: Source,
        *,
        context: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Valid[M] | None:
        """The model that a part of the tree makes with values from `source`; None after a problem.

        Examples stand for values that aren't there, and an error that comes from one is not reported: in a dry run None may come
        without a problem, where no example fits. `extra` goes into the model beside what is written.
        """
        if not isinstance(part.node, Keys):
            self.report(part.node.at, part.path, "must be a mapping of keys to values")
            return None
        for key, entry in part.node.entries.items():
            if isinstance(entry.node, Scalar) and entry.node.value is None:  # a line that somebody forgot: it never means the default
                self.report(entry.node.at, (*part.path, key), messages.EMPTY)
        filling = Filling(part.path, source)
        data = filling.data(part.node, model)
        self.problems += filling.problems
        self.secrets |= filling.secrets
        self.filled_in |= {filled.text for filled in filling.origins.values()}
        try:
            made = model.model_validate({**data, **(extra or {})}, context=dict(context or {}))
        except ValidationError as error:
            self._report_errors(error.errors(include_url=False, include_input=False), model, part, filling)
            return None
        return Valid(made, data, frozenset(filling.missing)) if source.dry or not filling.missing else None

    def _report_errors(self, errors: list[Any], model: type[BaseModel], part: ConfigPart, filling: Filling) -> None:
        """Reports pydantic's errors; of several about one place (the branches of a union) the one that says most.

        An error about a value that isn't there, or about something that holds one, says nothing of the file.
        """
        best: dict[Path, tuple[int, Position, str]] = {}
        for error in errors:
            walked, at, node = find(part.node, part.at, error["loc"])
            if error["type"] == "missing":
                found = (1, at, "is missing")
                walked = (*walked, str(error["loc"][-1]))
            elif error["type"] == "extra_forbidden":
                found = (1, at, messages.unknown_key(walked, known_keys(model, walked[:-1]), part.what, part.also_known))
            elif error["type"] == ALREADY_REPORTED or any(path[: len(walked)] == walked for path in filling.missing):
                continue
            else:
                message = messages.with_origin(messages.message(error, node), filling.origins.get(id(node)))
                found = (2 if error["type"] in _SAYS_MOST else 1, node.at if walked else at, message)
            if walked not in best or best[walked][0] < found[0]:
                best[walked] = found
        for walked, (_, at, message) in best.items():
            self.report(at, part.path + walked, message)
