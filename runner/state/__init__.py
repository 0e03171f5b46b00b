"""One locked ledger for everything that outlives the process: budgets, limits, holds, open outages, and when each check was last seen.

All processes that share a folder share its budgets and limits. If the folder can't be written, the ledger is in memory, as `durable` and
`why` show.
"""

from runner.state._file import STATE_FILE
from runner.state._last_seen import LastSeen
from runner.state._ledger import StateLedger, open_ledger

__all__ = ["STATE_FILE", "LastSeen", "StateLedger", "open_ledger"]
