"""Moments as responses write them: RFC 3339 and ISO 8601, HTTP dates, and seconds or milliseconds since the epoch."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

AHEAD = 300.0  # seconds by which the clock of a target may be ahead of ours
_EPOCH = re.compile(r"[0-9]{9,19}(?:\.[0-9]{1,9})?\Z", re.ASCII)  # a text; a shorter one is rather a date, such as 20261201
_THOUSANDS = 1e11  # seconds since the epoch that no clock shows: what is larger counts thousandths of them


def moment_of(value: Any) -> float | None:
    """The moment in seconds since the epoch; None for what is none. A time without a zone is UTC.

    Numbers are seconds, milliseconds, microseconds or nanoseconds since the epoch, by their size.
    """
    if isinstance(value, str) and _EPOCH.match(text := value.strip()):
        value = float(text)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 < value < 1e20:  # noqa: PLR2004 - also NaN, and an integer of any length
            return None
        moment = float(value)
        while moment >= _THOUSANDS:
            moment /= 1000
        return moment
    return _written(value.strip()) if isinstance(value, str) else None


def _written(text: str) -> float | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = read(text)
            moment = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        return moment if math.isfinite(moment) else None
    return None
