"""What an operator asks of a server beside the query: its role, how far replication is behind, and the connections in use."""

from __future__ import annotations

from probes import Context, Failed, Reason
from probes.expect.connections import judge_connections
from probes.kinds.postgres.expected import ExpectedResult
from probes.kinds.postgres.session import Session
from probes.text import latency, setting

_ROLE = "SELECT pg_catalog.pg_is_in_recovery()"
# A standby whose WAL receiver runs and that has replayed all that it received is not behind. Without a receiver, the age of the last
# transaction counts: what was received and replayed then says nothing of what the primary has done since.
_BEHIND_PRIMARY = (
    "SELECT (SELECT count(*) FROM pg_catalog.pg_stat_wal_receiver), CASE "
    "WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) "
    "AND pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() THEN 0 "
    "ELSE extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) END"
)
# Of a primary: replay_lag is null for a standby that has caught up, and does not grow for one that replays nothing any more.
_SLOWEST_STANDBY = (
    "SELECT count(*), count(state), coalesce(max(greatest(extract(epoch FROM replay_lag), CASE WHEN "
    "replay_lsn < sent_lsn THEN extract(epoch FROM pg_catalog.clock_timestamp() - reply_time) END)), 0), "
    "(array_agg(application_name ORDER BY replay_lag DESC NULLS LAST))[1] "
    "FROM pg_catalog.pg_stat_replication WHERE state IS DISTINCT FROM 'backup'"
)
_CONNECTIONS = "SELECT sum(numbackends), current_setting('max_connections') FROM pg_catalog.pg_stat_database"


async def judge_server(ctx: Context, session: Session, expect: ExpectedResult, role: str) -> None:
    """Asks in the query's transaction, notes the facts, and raises Failed for what is not as expected. `role` is who asks."""
    standby = False
    if expect.role is not None or expect.lag is not None:
        standby = (await session.simple(_ROLE))[0][0] == "t"
        ctx.facts["in_recovery"] = standby
    if expect.role is not None and standby != (expect.role == "standby"):
        seen = "standby" if standby else "primary"
        raise Failed(Reason.BODY, f"the server is a {seen}, expected a {expect.role}")
    if expect.lag is not None:
        lag, whose = await (_of_standby(session) if standby else _of_primary(session, role))
        ctx.facts["lag"] = lag
        if lag > expect.lag:
            raise Failed(Reason.BODY, f"{whose} is {latency(lag)} behind, expected at most {setting(expect.lag)}")
    if expect.connections is not None:
        ((used, most),) = await session.simple(_CONNECTIONS)
        ctx.facts |= {"connections": int(used or 0), "max_connections": int(most or 0)}
        judge_connections(int(used or 0), int(most or 0), expect.connections)


async def _of_standby(session: Session) -> tuple[float, str]:
    ((receivers, lag),) = await session.simple(_BEHIND_PRIMARY)
    gone = "" if receivers != "0" else ", whose WAL receiver doesn't run,"
    if lag is None:
        raise Failed(Reason.BODY, f"the standby{gone} has replayed no transaction since its start: nobody can tell how far it is behind")
    return float(lag), f"the standby{gone}"


async def _of_primary(session: Session, role: str) -> tuple[float, str]:
    ((standbys, readable, lag, name),) = await session.simple(_SLOWEST_STANDBY)
    if standbys == "0":
        raise Failed(Reason.BODY, "no standby is connected to the primary, expected one at least")
    if readable == "0":
        raise Failed(Reason.AUTH, f"role {role} sees no details of pg_stat_replication: GRANT pg_monitor TO {role}")
    return float(lag or 0), f"standby {name or 'without a name'}"
