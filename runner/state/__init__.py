"""One locked ledger for everything that outlives the process: budgets, limits, holds, open outages, and when each check was last seen.

All processes that share a folder share its budgets and limits. While the folder can't be used, limits are counted in memory, as `durable`
and `why` show, and what costs money or logs in is refused. What was counted is written down once the folder can be used again.
"""

from runner.state._file import STATE_FILE
from runner.state._last_seen import LastSeen
from runner.state._ledger import StateLedger, open_ledger, owner_of
from runner.state._store import StateRefused

__all__ = ["STATE_FILE", "LastSeen", "StateLedger", "StateRefused", "open_ledger", "owner_of"]
