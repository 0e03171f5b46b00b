"""The JSON of /api/checks: the same facts as the page, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from judge.observation import Observation
from probes.text import iso
from runner.sinks.health import State
from runner.sinks.values import plain
from runner.web.headline import word
from runner.web.maintenance import row as window_row
from runner.web.view import budget


def summary(state: State, now: float) -> dict[str, Any]:
    """One check as it is now: its settings, its state in a word, and its latest run."""
    check = state.check
    row: dict[str, Any] = {
        "check": check.name,
        "kind": check.kind,
        "line": check.line,
        "file": check.file or None,
        "state": word(state, now),
    }
    row |= {"since": iso(state.since) if state.since is not None else None, "tags": list(check.tags), "alert": check.alert}
    row |= {"required": check.required, "depends_on": list(check.depends_on), "part_of": check.part_of or None}
    row |= {"maintenance": window_row(state.window, now) if state.window else None}
    return row | {"latest": run(state.latest) if state.latest else None, "slos": [_slo(state, name) for name in state.slos]}


def detail(state: State, failures: Sequence[Observation], now: float) -> dict[str, Any]:
    """The summary, the recent runs (oldest first), and the last failures with their evidence (newest first)."""
    kept = [run(seen) | {"evidence": plain(seen.evidence), "request_id": seen.request_id} for seen in failures]
    return summary(state, now) | {"recent": [run(seen) for seen in state.recent], "failures": kept}


def run(seen: Observation) -> dict[str, Any]:
    """One run, with the keys of `outrider probe --json`."""
    row: dict[str, Any] = {"verdict": seen.verdict.value, "reason": seen.reason.value if seen.reason else None, "message": seen.message}
    row |= {"at": iso(seen.at), "seconds": seen.seconds, "phases": dict(seen.phases), "facts": seen.facts}
    row |= {"finding": seen.finding, "maintenance": seen.maintenance, "trace_id": seen.trace_id}
    return {key: plain(value) for key, value in row.items()}


def _slo(state: State, name: str) -> dict[str, Any]:
    slo = next(slo for slo in state.check.slos if slo.name == name)
    seen = budget(slo, *state.slos[name])
    return {"slo": name, "promise": seen.promise, "events": seen.events, "good": seen.good, "holds": seen.holds}
