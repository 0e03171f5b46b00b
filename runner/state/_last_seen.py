"""The sink that notes in the state when each check was last seen."""

from __future__ import annotations

from judge.observation import Observation
from runner.state._ledger import StateLedger


class LastSeen:
    """A sink over the ledger."""

    def __init__(self, ledger: StateLedger) -> None:
        self._ledger = ledger

    def __call__(self, seen: Observation) -> None:
        """Notes when the check was seen."""
        self._ledger.record(seen)

    def plan(self, plan: object) -> None:
        """A reload forgets nothing: the state only holds a time for each name, for the next restart.

        After a restart a check that ran within its interval waits for its next slot. The time of a removed check is never read.
        """
