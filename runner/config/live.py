"""checks.yaml as a runner reads it: at the start, when it has changed, and when a file with targets has changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from runner.config import include
from runner.config.errors import PlanError
from runner.config.plan import Plan
from runner.config.read import read_plan
from runner.config.target_files import TargetFiles


class LiveConfiguration:
    """Reads it again and again, for the same selection (`tags`, `checks`). One reading at a time; each blocks.

    A file with targets that is wrong keeps what it listed before, and never keeps checks.yaml from being read.
    """

    def __init__(self, path: Path, environ: Mapping[str, str], *, tags: Collection[str] = (), checks: Collection[str] = ()) -> None:
        self.path = path
        self._environ = environ
        self._tags, self._checks = tags, checks
        self._targets = TargetFiles(keep=True)
        self._tree: include.Tree | None = None  # of the plan that runs

    def read(self) -> Plan:
        """Everything anew. Raises PlanError."""
        return self._read(include.read(self.path))

    def read_targets(self) -> Plan:
        """The files with targets anew, for the checks.yaml that is in use. Raises PlanError."""
        return self._read(self._tree or include.read(self.path))

    def target_paths(self) -> Iterable[Path]:
        """The files with targets, and the folders in which others may appear."""
        return tuple(self._targets.paths)

    def warnings(self) -> tuple[str, ...]:
        """A sentence for each file with targets that can't be used."""
        return self._targets.warnings()

    def _read(self, tree: include.Tree) -> Plan:
        self._targets.begin()
        try:
            plan = self._plan(tree)
        except PlanError as error:
            if not self._targets.hold_back(error):
                raise
            plan = self._plan(tree)
        self._targets.accept()
        self._tree = tree
        return plan

    def _plan(self, tree: include.Tree) -> Plan:
        return read_plan(self.path, environ=self._environ, tags=self._tags, checks=self._checks, tree=tree, targets=self._targets)
