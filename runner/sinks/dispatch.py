"""Gives each observation to every sink, in order. A sink that fails stops no other, and leaves no check looking as it did before."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from judge.findings import finding, hangs
from judge.observation import DiagnosisFinding, Observation
from runner.config.plan import ByCheck, Plan
from runner.log import Log

_LOG_EVERY = 100  # failures of one sink for each line in the log


class LastingSink(Protocol):
    """A sink that outlives a plan."""

    def __call__(self, seen: Observation, /) -> None:
        """Takes an observation."""
        ...

    def plan(self, plan: Plan, /) -> None:
        """Follows the load at the start and each reload. Its docstring says what a reload and a restart do to the sink's memory."""
        ...


class Emit:
    """A sink that fans out. It keeps the latest observation of each check, and adds a finding that follows from them.

    `failed` is called with the name of a sink each time that it fails. `finders` take the findings of diagnoses later.
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
        self._hanging: dict[str, None] = {}  # the checks among them that hang, the longest first

    def __call__(self, observation: Observation) -> None:
        """Adds the finding and gives the observation to every sink.

        A sink that can't take it gets the bare verdict: a failure stays one, and all else is unknown / internal.
        """
        try:
            if text := finding(observation, self.latest, self._hanging):
                observation = replace(observation, finding=text)
        except Exception as error:  # noqa: BLE001 - as below
            self._count("finding", error)
        if observation.confirmed:
            name = observation.check.name
            self.latest[name] = replace(observation, message="", facts={}, evidence={}, spans=())  # what a finding reads
            if hangs(observation):
                self._hanging.setdefault(name)
            else:
                self._hanging.pop(name, None)
        for name, sink in self.sinks.items():
            try:
                sink(observation)
            except Exception as error:  # noqa: BLE001 - one sink's fault must not silence the others
                self._count(name, error)
                with contextlib.suppress(Exception):  # it is counted already
                    sink(observation.bare(f"the sink {name} can't take this run: {type(error).__name__}"))

    def found(self, diagnosis: DiagnosisFinding) -> None:
        """Gives the finding of a diagnosis to every finder."""
        for name, take in self._finders.items():
            try:
                take(diagnosis)
            except Exception as error:  # noqa: BLE001 - as above
                self._count(name, error)

    def plan(self, plan: Plan) -> None:
        """Lets every sink follow a load or reload, in order. A removed or changed check explains no failure until its next run.

        A restart restores no observation. Raises what a sink raises: the first sink may refuse a plan before anything has changed.
        """
        for sink in self.sinks.values():
            sink.plan(plan)
        self.latest.plan(plan)
        self._hanging = {name: None for name in self._hanging if name in self.latest}

    def _count(self, name: str, error: Exception) -> None:
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        if failures % _LOG_EVERY == 1:
            self._log(logging.ERROR, f"sink {name} failed ({failures} times so far): {type(error).__name__}: {error}")
        self._failed(name)
