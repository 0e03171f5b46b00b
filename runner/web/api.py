"""What /api/checks tells: the same facts as the page, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from judge.observation import Observation
from probes.text import iso
from runner.sinks.health import State
from runner.sinks.values import plain
from runner.web.headline import word
from runner.web.view import budget


def brief(state: State, now: float) -> dict[str, Any]:
    """One check as it is now: what it is, its state in a word, and its latest run."""
    check = state.check
    told: dict[str, Any] = {"check": check.name, "kind": check.kind, "line": check.line, "state": word(state, now)}
    told |= {"since": iso(state.since) if state.since is not None else None, "tags": list(check.tags), "alert": check.alert}
    told |= {"required": check.required, "depends_on": list(check.depends_on), "part_of": check.part_of or None}
    return told | {"latest": run(state.latest) if state.latest else None, "slos": [_slo(state, name) for name in state.slos]}


def whole(state: State, failures: Sequence[Observation], now: float) -> dict[str, Any]:
    """`brief`, and the recent runs (oldest first), and the last failures with their evidence (newest first)."""
    kept = [run(seen) | {"evidence": plain(seen.evidence), "request_id": seen.request_id} for seen in failures]
    return brief(state, now) | {"recent": [run(seen) for seen in state.recent], "failures": kept}


def run(seen: Observation) -> dict[str, Any]:
    """One run, with the words of `outrider probe --json`."""
    told: dict[str, Any] = {"verdict": seen.verdict.value, "reason": seen.reason.value if seen.reason else None, "message": seen.message}
    told |= {"at": iso(seen.at), "seconds": seen.seconds, "phases": dict(seen.phases), "facts": seen.facts}
    told |= {"finding": seen.finding, "maintenance": seen.maintenance, "trace_id": seen.trace_id}
    return {key: plain(value) for key, value in told.items()}


def _slo(state: State, name: str) -> dict[str, Any]:
    slo = next(slo for slo in state.check.slos if slo.name == name)
    seen = budget(slo, *state.slos[name])
    return {"slo": name, "promise": seen.promise, "events": seen.events, "good": seen.good, "holds": seen.holds}
