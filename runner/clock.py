"""The machine's time, as the argument that everything else takes it as."""

from __future__ import annotations

import time


class SystemClock:
    """Implements probes.core.Clock with the machine's clocks."""

    def time(self) -> float:
        """Seconds since the epoch, UTC; NTP and people may set it."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back, and stands while the machine is suspended."""
        return time.monotonic()
