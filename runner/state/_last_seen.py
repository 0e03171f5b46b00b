"""The sink that remembers in the state when each check was last seen."""

from __future__ import annotations

from judge.observation import Observation
from runner.state._ledger import StateLedger


class LastSeen:
    """A sink over the ledger."""

    def __init__(self, ledger: StateLedger) -> None:
        self._ledger = ledger

    def __call__(self, seen: Observation) -> None:
        """Remembers when the check was seen."""
        self._ledger.record(seen)

    def plan(self, plan: object) -> None:
        """A reload forgets nothing, since all that is remembered is a moment by name, for the next restart.

        At a restart it spares a check that ran within its interval a run outside its rhythm; of a check that is gone nobody asks.
        """
