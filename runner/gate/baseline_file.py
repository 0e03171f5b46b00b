"""The file that `--save` writes before a deployment and `--baseline` reads after it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from judge.baseline import Before
from probes.text import iso

_VERSION = 1


def save(path: Path, *, seconds: Mapping[str, Sequence[float]], revisions: Mapping[str, str], at: float, service: str) -> None:
    """Writes what was measured, whole or not at all. Raises OSError. `at` in seconds since the epoch."""
    data = {
        "version": _VERSION,
        "service": service,
        "at": iso(at, "microseconds"),
        "revisions": dict(revisions),
        "seconds": {name: [round(one, 6) for one in values] for name, values in seconds.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)


def load(path: Path) -> Before:
    """Reads what was saved. Raises OSError, and ValueError for a file that `save` didn't write."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != _VERSION:
            raise ValueError(f"it was written by another version ({data['version']})")
        durations = {str(name): tuple(_seconds(one) for one in values) for name, values in data["seconds"].items()}
        revisions = {str(name): str(one) for name, one in data["revisions"].items()}
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError("outrider gate --save did not write this file") from None
    return Before(durations, revisions, f"{path.name} of {data.get('at', 'some time')}")


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError("it has a duration that is not a number")
    return float(value)
