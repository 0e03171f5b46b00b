"""Hands each observation to every sink, in order. A sink that fails stops no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from judge.findings import finding
from judge.observation import Finding, Observation, Sink
from runner.sinks.journal import Log

_SAY_AGAIN = 100  # failures of one sink between two lines in the log


class Emit:
    """A Sink that fans out. It knows the latest observation of each check, and adds the finding that they allow.

    `failed` is told the name of a sink each time that it fails. `finders` take what diagnoses find later.
    """

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        failed: Callable[[str], None],
        log: Log | None = None,
        finders: Mapping[str, Callable[[Finding], None]] | None = None,
    ) -> None:
        self._sinks = dict(sinks)
        self._finders = dict(finders or {})
        self._failed = failed
        self._log = log or logging.getLogger("outrider.engine").log
        self._failures: dict[str, int] = {}
        self.latest: dict[str, Observation] = {}

    def __call__(self, observation: Observation) -> None:
        """Adds the finding and hands the observation on."""
        if said := finding(observation, self.latest):
            observation = replace(observation, finding=said)
        if observation.confirmed:
            self.latest[observation.check.name] = observation
        for name, sink in self._sinks.items():
            try:
                sink(observation)
            except Exception as error:  # noqa: BLE001 - one sink's fault must not silence the others
                self._count(name, error)

    def found(self, told: Finding) -> None:
        """Hands what a diagnosis found to whoever takes findings."""
        for name, take in self._finders.items():
            try:
                take(told)
            except Exception as error:  # noqa: BLE001 - as above
                self._count(name, error)

    def keep(self, names: frozenset[str]) -> None:
        """Forgets all checks but these (and their parts): after a reload, a removed check explains nothing."""
        self.latest = {name: seen for name, seen in self.latest.items() if (seen.check.part_of or name) in names}

    def _count(self, name: str, error: Exception) -> None:
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        if failures % _SAY_AGAIN == 1:
            self._log(logging.ERROR, f"sink {name} failed ({failures} times so far): {type(error).__name__}: {error}")
        self._failed(name)
