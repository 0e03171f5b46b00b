"""How long the long fuzz tests look for faults."""

from __future__ import annotations

import os

TARGETS = 41  # ways of asking and parsers; a test counts them


def share() -> float:
    """Seconds for one of them. FUZZ_SECONDS are the seconds for all together: ten minutes, unless it says otherwise."""
    return float(os.environ.get("FUZZ_SECONDS", "600")) / TARGETS
