"""The one way in which the runner's rooms log: a function that takes a level of the logging module and a message without secrets."""

from __future__ import annotations

import logging
from collections.abc import Callable

Log = Callable[[int, str], None]
LEVELS = ("debug", "info", "warning", "error", "critical")


def level_name(level: int) -> str:
    """The name of a level of the logging module; of a level between two of them, the lower one."""
    return LEVELS[min(max(level, logging.DEBUG), logging.CRITICAL) // 10 - 1]


def written_level(name: str) -> str:
    """A level's name as the guide writes it, in the journal and in log_entries_total: ERROR."""
    return name.upper()
