"""Hands each observation to every sink, in order. A sink that fails stops no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from judge.findings import finding
from judge.observation import DiagnosisFinding, Observation
from runner.config.plan import ByCheck, Plan
from runner.log import Log

_SAY_AGAIN = 100  # failures of one sink between two lines in the log


class LastingSink(Protocol):
    """A sink that outlives a plan."""

    def __call__(self, seen: Observation, /) -> None:
        """Takes an observation."""
        ...

    def plan(self, plan: Plan, /) -> None:
        """Follows the load at the start and each reload. Its docstring says what a reload and a restart do to what the sink remembers."""
        ...


class Emit:
    """A Sink that fans out. It knows the latest observation of each check, and adds the finding that they allow.

    `failed` is told the name of a sink each time that it fails. `finders` take what diagnoses find later.
    """

    def __init__(
        self,
        sinks: Mapping[str, LastingSink],
        failed: Callable[[str], None],
        log: Log | None = None,
        finders: Mapping[str, Callable[[DiagnosisFinding], None]] | None = None,
    ) -> None:
        self.sinks = dict(sinks)
        self._finders = dict(finders or {})
        self._failed = failed
        self._log = log or logging.getLogger("outrider.engine").log
        self._failures: dict[str, int] = {}
        self.latest: ByCheck[Observation] = ByCheck()

    def __call__(self, observation: Observation) -> None:
        """Adds the finding and hands the observation on."""
        if said := finding(observation, self.latest):
            observation = replace(observation, finding=said)
        if observation.confirmed:
            self.latest[observation.check.name] = observation
        for name, sink in self.sinks.items():
            try:
                sink(observation)
            except Exception as error:  # noqa: BLE001 - one sink's fault must not silence the others
                self._count(name, error)

    def found(self, told: DiagnosisFinding) -> None:
        """Hands what a diagnosis found to whoever takes findings."""
        for name, take in self._finders.items():
            try:
                take(told)
            except Exception as error:  # noqa: BLE001 - as above
                self._count(name, error)

    def plan(self, plan: Plan) -> None:
        """Lets every sink follow a load or reload, in order; and a removed or changed check explains nothing until it is seen again.

        A restart restores no observation. Raises what a sink raises: the first one may refuse a plan before anything has changed.
        """
        for sink in self.sinks.values():
            sink.plan(plan)
        self.latest.plan(plan)

    def _count(self, name: str, error: Exception) -> None:
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        if failures % _SAY_AGAIN == 1:
            self._log(logging.ERROR, f"sink {name} failed ({failures} times so far): {type(error).__name__}: {error}")
        self._failed(name)
