"""The outages of an always-on runner's checks, each from its first failure to its recovery."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from judge.observation import Observation, Outage
from probes.core import Clock, Verdict
from runner.config.plan import ByCheck, Plan


class Outages:
    """A sink that calls `changed` with each outage that begins (at its second failure in a row: one may be a blip) or ends.

    An outage belongs to its check's name, service and environment, as its annotation in Grafana does.
    """

    def __init__(self, changed: Callable[[Outage], None], clock: Clock) -> None:
        self._changed = changed
        self._clock = clock
        self._failed_once: ByCheck[tuple[float, str]] = ByCheck()  # by check: when and why it failed once
        self._open: dict[str, list[Outage]] = {}  # by check; an outage that two runners saw is there twice
        self._service = self._environment = ""

    def __call__(self, seen: Observation) -> None:
        """Takes an observation of a check; those of parts are ignored."""
        name = seen.check.name
        if seen.check.part_of:
            return
        if seen.verdict is Verdict.PASS:
            self._failed_once.pop(name, None)
            for outage in self._open.pop(name, []):
                self._changed(replace(outage, ended=seen.at))
        elif seen.verdict is Verdict.FAIL and seen.confirmed and not seen.maintenance and name not in self._open:
            self._failed(seen)

    def _failed(self, seen: Observation) -> None:
        name = seen.check.name
        if (first := self._failed_once.pop(name, None)) is None:
            self._failed_once[name] = seen.at, f"{seen.reason or ''}: {seen.message}"
            return
        outage = Outage(name, *first, self._service, self._environment)
        self._open[name] = [outage]
        self._changed(outage)

    def restore(self, outages: Iterable[Outage]) -> None:
        """Goes on with the outages that an earlier process left open. Call it before the first `plan`."""
        for outage in outages:
            self._open.setdefault(outage.check, []).append(outage)

    def plan(self, plan: Plan) -> None:
        """Follows a load or reload: the outage of a removed check ends now, and its end gives the cause.

        A changed check goes on with its outage, which ends with the next pass under its name. A single failure before the change
        doesn't count any more. A restart goes on with every outage in the state (`restore`): it ends here if its check was removed
        meanwhile, else with its check's first pass.
        """
        self._service, self._environment = plan.service, plan.environment
        self._failed_once.plan(plan)
        checks = {planned.check.name for planned in plan.checks}
        for name, outages in list(self._open.items()):
            here = (plan.service, plan.environment)
            kept = [outage for outage in outages if name in checks and (outage.service, outage.environment) == here]
            for outage in outages:
                if outage not in kept:
                    self._changed(replace(outage, ended=self._clock.time(), until=_until(outage, plan, checks)))
            if kept:
                self._open[name] = kept
            else:
                del self._open[name]


def _until(outage: Outage, plan: Plan, checks: set[str]) -> str:
    """The cause of an end other than a pass."""
    file = plan.path.name if plan.path else "checks.yaml"
    if outage.check in plan.off:
        return f"it was switched off in {file}"
    if outage.check not in checks:
        return f"it was removed from {file}"
    return f"the service or the environment was changed in {file}"
