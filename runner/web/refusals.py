"""What the web refused: counted one by one in a metric, and said once a minute in the journal, since strangers cause it."""

from __future__ import annotations

import logging
from collections import Counter

from runner.log import Log
from runner.sinks.metrics import Metrics

EVERY = 60.0  # seconds between two reports
_WHAT = {
    "busy": "too many requests at once",
    "host": "the Host header names no host that this runner knows",
    "late": "the request took too long to arrive",
    "malformed": "no HTTP request",
    "token": "a wrong token",
    "too_large": "the request is too large",
    "too_many": "too many connections",
    "untaken": "the client didn't take the response",
}


class Refusals:
    """Takes the reason of each refusal, and the address that it came from."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._metrics = metrics
        self._log = log
        self._counts: Counter[str] = Counter()
        self._latest: dict[str, str] = {}
        metrics.count_refusals(_WHAT)

    def __call__(self, reason: str, address: str) -> None:
        """Counts one."""
        self._metrics.refused(reason)
        self._counts[reason] += 1
        self._latest[reason] = address

    async def report(self) -> None:
        """Writes a line for each reason that was met since the last report."""
        for reason, number in self._counts.items():
            latest = f"; the latest came from {self._latest[reason]}" if self._latest[reason] else ""
            requests = "1 request" if number == 1 else f"{number:,} requests"
            self._log(logging.WARNING, f"{requests} refused: {_WHAT[reason]}{latest}")
        self._counts.clear()
