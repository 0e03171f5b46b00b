"""The clock of the machine. Everything else takes a clock as an argument."""

from __future__ import annotations

import time


class SystemClock:
    """Implements probes.core.Clock with the machine's clocks."""

    def time(self) -> float:
        """Seconds since the epoch, UTC. NTP and users may set it."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since an unspecified moment. It never goes back, and stops while the machine is suspended."""
        return time.monotonic()
