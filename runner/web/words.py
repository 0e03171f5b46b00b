"""Moments as the page shows them. Everything is UTC, and the page says so."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(at: float, now: float) -> str:
    """A time of day, with its date where that is another: `14:02:11`, `23 Nov 14:02:11`."""
    then, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    text = f"{then:%H:%M:%S}"
    if then.date() == today.date():
        return text
    return f"{then.day} {then:%b} {text}" if then.year == today.year else f"{then.day} {then:%b %Y} {text}"
