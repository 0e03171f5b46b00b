"""Times, numbers and states as a person reads them. Everything is UTC, and says so where it matters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

_DAY = 86400


def listed(names: Sequence[str], most: int = 4) -> str:
    """`a, b and c`; from a long list the first few and how many more."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most:,} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def span(seconds: float) -> str:
    """How long something took: `<0.1 ms`, `0.4 ms`, `480 ms`, `1.24 s`, `75 s`."""
    if seconds < 0.00005:  # noqa: PLR2004 - what would be written as nought
        return "<0.1 ms"
    if seconds < 0.01:  # noqa: PLR2004 - where a tenth of a millisecond still tells
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - as above, of a hundredth


def age(seconds: float) -> str:
    """How long ago, in its one or two largest units: `12 s`, `3 min`, `2 h 5 min`, `3 d 4 h`."""
    whole = max(0, round(seconds))
    for unit, size, smaller, part in (("d", _DAY, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"  # noqa: PLR2004 - a minute


def moment(at: float, now: float) -> str:
    """A time of day, with its date where that is another: `14:02:11`, `23 Nov 14:02:11`."""
    then, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    text = f"{then:%H:%M:%S}"
    if then.date() == today.date():
        return text
    return f"{then.day} {then:%b} {text}" if then.year == today.year else f"{then.day} {then:%b %Y} {text}"
