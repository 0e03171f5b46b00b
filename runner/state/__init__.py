"""One locked ledger for what outlives the process: budgets, limits, holds, open outages and when each check was last seen.

All processes that share a folder share what may be spent. Where the folder can't be written the ledger is in memory, and
says so (`durable`, `why`).
"""

from runner.state._file import STATE_FILE
from runner.state._last_seen import LastSeen
from runner.state._ledger import StateLedger, open_ledger

__all__ = ["STATE_FILE", "LastSeen", "StateLedger", "open_ledger"]
