"""PostgreSQL's connection URLs, read with the configuration, without the environment or any file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from probes.fields import url_host
from probes.text import did_you_mean
from probes.wire.tls import Tls

FORM = "postgresql://role:password@host:5432/database (in a password, write @ as %40, / as %2F, # as %23, ? as %3F)"
_WORD = 40  # characters of an unknown word in a message
_SEARCH_PATHS = ("search_path", "schema", "currentSchema", "schema_search_path")  # asyncpg's, Prisma's, JDBC's and Rails' word
_STARTUP = {"application_name": "application_name", "ApplicationName": "application_name", "options": "options"}
_ONLY_CLIENTS = frozenset(  # words for the application's own client, which say nothing about the server: they are passed over
    # libpq
    {"connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "gssencmode"}
    | {"channel_binding", "client_encoding", "fallback_application_name", "sslcompression", "sslsni", "sslcertmode", "gssdelegation"}
    | {"min_protocol_version", "max_protocol_version"}
    # Prisma, and what Supabase, Vercel and Neon add
    | {"connection_limit", "pool_timeout", "pgbouncer", "socket_timeout", "statement_cache_size", "single_use_connections"}
    | {"supa", "workaround", "uselibpqcompat"}
    # SQLAlchemy, asyncpg, psycopg, Django
    | {"command_timeout", "timeout", "prepared_statement_cache_size", "prepared_statement_name_func", "async_fallback"}
    | {"max_cached_statement_lifetime", "max_cacheable_statement_size", "max_inactive_connection_lifetime", "prepare_threshold"}
    | {"pool_size", "max_overflow", "pool_recycle", "pool_pre_ping", "min_size", "max_size", "max_queries"}
    | {"conn_max_age", "conn_health_checks", "disable_server_side_cursors"}
    # JDBC, Rails, Ecto, Doctrine, pgx, lib/pq, node-postgres
    | {"prepareThreshold", "preparedStatementCacheQueries", "reWriteBatchedInserts", "tcpKeepAlive", "socketTimeout", "loginTimeout"}
    | {"connectTimeout", "preferQueryMode", "defaultRowFetchSize", "stringtype", "maximumPoolSize", "minimumIdle"}
    | {"pool", "prepared_statements", "reaping_frequency", "checkout_timeout", "idle_timeout", "advisory_locks", "encoding"}
    | {"min_messages", "serverVersion", "charset", "binary_parameters", "default_query_exec_mode"}
    | {"statement_cache_capacity", "description_cache_capacity", "pool_max_conns", "pool_min_conns", "pool_max_conn_lifetime"}
    | {"pool_max_conn_lifetime_jitter", "pool_max_conn_idle_time", "pool_health_check_period"}
    | {"max", "min", "idleTimeoutMillis", "connectionTimeoutMillis", "sslaccept"}
)
_REFUSED = frozenset(
    {"hostaddr", "port", "dbname", "service", "passfile", "target_session_attrs", "load_balance_hosts", "replication"}
    | {"sslpassword", "sslcrl", "sslcrldir", "sslnegotiation", "requiressl", "krbsrvname", "sslidentity"}
    | {"require_auth", "requirepeer", "ssl_min_protocol_version", "ssl_max_protocol_version", "gsslib", "servicefile"}
)
_HINTS = {
    "hostaddr": "write the address before the path",
    "port": "write the port behind the host",
    "dbname": "write the database as the path",
    "target_session_attrs": "name one host, and write expect: {role: primary} or {role: standby}",
    "load_balance_hosts": "write a check for each host",
    "sslpassword": "store the key without a password",
    "ssl_min_protocol_version": "write tls: {minimum: ...}",
}
# The words of sslmode, and what else stands there or in `ssl`: libpq, asyncpg and JDBC (ssl=true is require to libpq), node-postgres.
_MODES = {
    **{mode: mode for mode in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")},
    "true": "require",
    "1": "require",
    "no-verify": "require",
    "false": "disable",
    "0": "disable",
}


@dataclass(frozen=True, slots=True)
class Dsn:
    """Address and credentials of a database. `tls` is None for none; with `tls_or_plain` a connection without TLS is also accepted.

    `startup` is sent as the session starts; `settings` are set in the transaction, since a pooler refuses them at the start.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    settings: Mapping[str, str] = field(default_factory=dict)
    startup: Mapping[str, str] = field(default_factory=dict)
    tls: Tls | None = None
    tls_or_plain: bool = False

    @property
    def socket(self) -> str:
        """The path of the Unix socket; "" for a server that is reached over TCP."""
        return f"{self.host}/.s.PGSQL.{self.port}" if self.host.startswith("/") else ""


def read_dsn(text: str, tls: Tls | None = None, folder: Path = Path()) -> Dsn:
    """Reads a URL; `tls` (the check's own settings) overrides sslmode. Raises ValueError, whose text contains no secret.

    A relative file is below `folder`. The query may hold what the application's own client reads there. A word that nobody here
    knows is an error, with what is similar.
    """
    split = _split(text)
    options = dict(parse_qsl(split.query, keep_blank_values=True))
    if wrong := sorted(_REFUSED & options.keys()):
        raise ValueError(f"{wrong[0]} is not allowed in the query of a dsn here; {_HINTS.get(wrong[0], f'write {FORM}')}")
    known = {"sslmode", "ssl", "sslrootcert", "sslcert", "sslkey", "host", "user", "password", *_SEARCH_PATHS, *_STARTUP}
    for word in options:
        if word not in known | _ONLY_CLIENTS:
            hint = did_you_mean(word, known) or f"; a setting of the server is written options=-c%20{word}%3D..."
            raise ValueError(f"{word[:_WORD]} is no known word in the query of a dsn{hint}")
    host = _host(split, options.get("host", ""))
    own_tls, optional = (None, False) if host.startswith("/") else _tls_of(_mode(options), options, tls, folder)
    if host.startswith("/") and tls:
        raise ValueError("PostgreSQL has no TLS on a Unix socket; leave out the check's tls settings")
    user = unquote(split.username or "") or options.get("user", "")
    if not user:
        raise ValueError(f"names no role; write {FORM}")
    read = Dsn(
        host=host,
        port=split.port or 5432,
        user=user,
        password=unquote(split.password or "") or options.get("password", ""),
        database=unquote(split.path[1:]) or user,
        settings={"search_path": paths[0]} if (paths := [options[name] for name in _SEARCH_PATHS if options.get(name)]) else {},
        startup={name: options[word] for word, name in _STARTUP.items() if options.get(word)},
        tls=own_tls,
        tls_or_plain=optional,
    )
    if "\0" in "".join((read.user, read.password, read.database, *read.settings.values(), *read.startup.values())):
        raise ValueError("holds a NUL character (%00), which PostgreSQL takes nowhere")
    return read


def _mode(options: Mapping[str, str]) -> str:
    """The sslmode, however it is spelt. Raises ValueError for a word that is none, and for two that contradict each other."""
    modes = []
    for word in ("sslmode", "ssl"):
        if word in options:
            if options[word] not in _MODES:
                raise ValueError(f"{word} is one of disable, prefer, require, verify-ca and verify-full")
            modes.append(_MODES[options[word]])
    if len(set(modes)) > 1:
        raise ValueError("sslmode and ssl contradict each other; leave one of them out")
    if options.get("sslaccept") == "strict" and modes != ["disable"]:  # Prisma's word
        return "verify-full"
    return modes[0] if modes else "prefer"


def _split(text: str) -> SplitResult:
    """Splits and checks the URL. urlsplit's own error text may contain a part of the password, so it is not passed on."""
    try:
        split = urlsplit(text)
    except ValueError:
        raise ValueError(f"is no PostgreSQL URL; write {FORM}") from None
    if "," in split.netloc.rpartition("@")[2]:
        raise ValueError("names several hosts: write a check for each, so that each has a verdict of its own")
    if text.lower().startswith("jdbc:"):
        raise ValueError(f"is JDBC's form; leave out jdbc: and write {FORM}")
    if split.scheme.partition("+")[0] not in ("postgresql", "postgres") or not _has_port(split):
        raise ValueError(f"is no PostgreSQL URL; write {FORM}")
    if split.username is None and "@" in split.query:  # a ? in a password: what follows is a part of it, and must not be shown
        raise ValueError(f"is no PostgreSQL URL; write {FORM}")
    return split


def _host(split: SplitResult, option: str) -> str:
    """The host, or the folder of the Unix socket: as the host with %2F, or as the word `host` of the query."""
    written = split.netloc.rpartition("@")[2].partition(":")[0]
    host = unquote(written) if "%2f" in written.lower() else unquote(split.hostname or "")
    if option and (host or not option.startswith("/")):
        raise ValueError("host is not allowed in the query of a dsn here, except as the folder of a Unix socket; write it before the path")
    if not (host or option):
        raise ValueError(f"names no host; write {FORM}, or the folder of a Unix socket: postgresql://role@/database?host=/run/postgresql")
    return host or option if (host or option).startswith("/") else url_host(host)


def _has_port(split: SplitResult) -> bool:
    try:
        return split.port != 0
    except ValueError:
        return False


def _tls_of(mode: str, options: Mapping[str, str], own: Tls | None, folder: Path) -> tuple[Tls | None, bool]:
    """TLS settings for libpq's sslmode, and whether a connection without TLS is accepted."""
    if own is not None:
        if mode == "disable":
            raise ValueError("sslmode=disable contradicts the check's tls settings; leave one of them out")
        return own, False
    ca, cert, key = (options.get(word) for word in ("sslrootcert", "sslcert", "sslkey"))
    if mode == "disable":
        return None, False
    if mode == "allow":
        raise ValueError("sslmode is one of disable, prefer, require, verify-ca and verify-full; allow is none here")
    if key and not cert:
        raise ValueError("sslkey belongs to an sslcert; give that, too")
    authorities = folder / ca if ca and ca != "system" else None
    if mode == "verify-ca" and authorities is None:
        raise ValueError("sslmode=verify-ca needs sslrootcert: every public authority's certificate would do")
    full = mode == "verify-full" or (mode == "require" and ca == "system")
    chain_alone = mode == "verify-ca" or (mode == "require" and authorities is not None)  # the latter as in libpq
    read = Tls(
        ca=authorities if full or chain_alone else None,
        verify=full or chain_alone,
        check_name=not chain_alone,
        cert=folder / cert if cert else None,
        key=folder / key if key else None,
    )
    return read, mode == "prefer"
