"""Observations as JSON: what `outrider probe --json` prints."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from judge.observation import Observation
from probes.core import Span


def observation(seen: Observation) -> dict[str, Any]:
    """One observation with the keys that users script against (HOUSE, section 4), and a few more."""
    return {
        "check": seen.check.name,
        "kind": seen.check.kind,
        "verdict": str(seen.verdict),
        "reason": str(seen.reason) if seen.reason else None,
        "message": seen.message,
        "at": datetime.fromtimestamp(seen.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "seconds": round(seen.seconds, 6),
        "phases": {name: round(seconds, 6) for name, seconds in seen.phases.items()},
        "spans": [_span(span) for span in seen.spans],
        "facts": dict(seen.facts),
        "evidence": dict(seen.evidence),
        "finding": seen.finding,
        "line": seen.check.line,
        "file": seen.check.file or None,
        "trace_id": seen.trace_id,
        "request_id": seen.request_id,
    }


def _span(span: Span) -> dict[str, Any]:
    """Seconds from the run's start. Spans overlap where attempts do, and repeat along redirects and steps."""
    row: dict[str, Any] = {"name": span.name, "start": round(span.start, 6), "end": round(span.end, 6)}
    return row | ({"step": span.step} if span.step else {})


def observations(seen: Iterable[Observation]) -> str:
    """A list with an object per check, parts among them."""
    return json.dumps([observation(one) for one in seen], indent=2, default=str)
