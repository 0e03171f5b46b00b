"""Redis's connection URLs, read when the configuration is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from probes.fields import url_host
from probes.text import did_you_mean, host_and_port
from probes.wire.tls import Tls

FORM = (
    "redis://user:password@host:6379/0, rediss:// for TLS, or unix:///run/redis.sock?db=0 "
    "(in a password, write @ as %40, / as %2F, # as %23, ? as %3F)"
)
_SCHEMES = {"redis": False, "rediss": True, "valkey": False, "valkeys": True}
_SOCKETS = frozenset({"unix", "redis+unix", "redis+socket", "redis-socket", "valkey+unix", "valkey+socket"})
_SENTINELS = frozenset({"sentinel", "redis-sentinel", "redis+sentinel", "rediss+sentinel", "rediss-sentinel"})
_WORD = 40  # characters of an unknown word in a message
_VERIFY = {"none": False, "optional": True, "required": True, "0": False, "1": True, "2": True}  # a server always shows its certificate
_KNOWN = frozenset(
    {"db", "username", "password", "ssl_cert_reqs", "ssl_ca_certs", "ssl_check_hostname", "skip_verify", "verifyPeer", "ssl", "tls"}
    | {"ssl_certfile", "ssl_keyfile"}
)
_ONLY_CLIENTS = frozenset(  # words for the application's own client, which say nothing about the server: they are passed over
    # redis-py, Celery, Django
    {"socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options", "socket_read_size", "socket_type"}
    | {"retry_on_timeout", "retry_on_error", "max_connections", "health_check_interval", "encoding", "encoding_errors"}
    | {"decode_responses", "client_name", "lib_name", "lib_version", "protocol", "single_connection_client", "timeout"}
    | {"visibility_timeout", "virtual_host", "global_keyprefix", "ignore_exceptions"}
    # go-redis
    | {"dial_timeout", "read_timeout", "write_timeout", "pool_size", "pool_timeout", "pool_fifo", "min_idle_conns", "max_idle_conns"}
    | {"max_active_conns", "max_retries", "min_retry_backoff", "max_retry_backoff", "conn_max_idle_time", "conn_max_lifetime"}
    | {"idle_timeout", "idle_check_frequency", "max_conn_age", "network"}
    # ioredis, lettuce, redis-rb, Predis, Symfony
    | {"family", "connectTimeout", "commandTimeout", "keepAlive", "maxRetriesPerRequest", "enableReadyCheck", "lazyConnect"}
    | {"connectionName", "keyPrefix", "clientName", "libraryName", "libraryVersion", "reconnect_attempts", "driver"}
    | {"persistent", "persistent_id", "prefix", "alias", "read_write_timeout", "retry_interval", "lazy", "tcp_keepalive", "tcp_nodelay"}
)
_REFUSED = {
    "ssl_password": "the key of a client certificate must not be encrypted",
    "ssl_ca_path": "write ssl_ca_certs, or tls: {ca: ...}",
    "ssl_ca_data": "write ssl_ca_certs, or tls: {ca: ...}",
    "ssl_min_version": "write tls: {minimum: ...}",
    "ssl_ciphers": "leave it out",
    "sentinelMasterId": "write sentinel: NAME beside the url",
}


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Address and credentials of a Redis; `tls` is None for a connection without TLS. A host that begins with / is a Unix socket."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    db: int
    tls: Tls | None

    @property
    def socket(self) -> str:
        """The path of the Unix socket; "" for a server that is reached over TCP."""
        return self.host if self.host.startswith("/") else ""

    @property
    def where(self) -> str:
        """The address for a person: host:port, or the path of the socket."""
        return self.socket or host_and_port(self.host, self.port)


def read_redis_url(text: str, tls: Tls | None = None, folder: Path = Path()) -> RedisUrl:
    """Reads a URL; `tls` (the check's own settings) overrides the URL's. Raises ValueError, whose text contains no secret.

    A relative file is below `folder`. The query may hold what the application's own client reads there. A word that nobody here
    knows is an error, with what is similar.
    """
    split = _split(text)
    options = dict(parse_qsl(split.query, keep_blank_values=True))
    for word in options:
        if word in _REFUSED:
            raise ValueError(f"{word} is not supported in the query of a url: {_REFUSED[word]}")
        if word not in _KNOWN | _ONLY_CLIENTS:
            raise ValueError(f"{word[:_WORD]} is no known word in the query of a url{did_you_mean(word, _KNOWN)}")
    local = split.scheme in _SOCKETS
    try:
        port = 0 if local else 6379 if split.port is None else split.port
        db = int(options.get("db") or ("" if local else unquote(split.path).strip("/")) or 0)
    except ValueError:  # its own text may contain a part of the password
        raise ValueError(f"is no Redis URL; write {FORM}") from None
    if db < 0 or (bool(split.hostname) if local else not split.hostname or not port) or (local and len(split.path) <= 1):
        raise ValueError(f"is no Redis URL; write {FORM}")
    if local and tls:
        raise ValueError("there is no TLS on a Unix socket; leave out the check's tls settings")
    encrypted = _SCHEMES.get(split.scheme, False)
    if not encrypted and any(options.get(word, "false").lower() not in ("false", "0", "") for word in ("ssl", "tls")):
        raise ValueError(f"asks for TLS by a word in its query; write {split.scheme}s:// instead")
    return RedisUrl(
        host=unquote(split.path) if local else url_host(unquote(split.hostname or "")),
        port=port,
        user=unquote(split.username or "") or options.get("username", ""),
        password=unquote(split.password or "") or options.get("password", ""),
        db=db,
        tls=tls or (_tls_of(options, folder) if encrypted else None),
    )


def _split(text: str) -> SplitResult:
    """Splits the URL and checks its scheme. urlsplit's own error text may contain a part of the password, so it is not passed on."""
    if "," in text.partition("?")[0].rpartition("@")[2]:
        raise ValueError("names several hosts: write a check for each, so that each has a verdict of its own")
    try:
        split = urlsplit(text)
    except ValueError:
        raise ValueError(f"is no Redis URL; write {FORM}") from None
    if split.scheme in _SENTINELS:
        raise ValueError(
            "asks Sentinel: write the Sentinel's own address, redis://user:password@host:26379/0, and sentinel: NAME beside it"
        )
    if split.scheme in ("redis+tls", "redis+ssl", "redis+rediss"):
        raise ValueError("asks for TLS; write rediss:// instead")
    if split.scheme not in _SCHEMES.keys() | _SOCKETS or (split.username is None and "@" in split.query):  # the latter: a ? in a password
        raise ValueError(f"is no Redis URL; write {FORM}")
    return split


def _tls_of(options: Mapping[str, str], folder: Path) -> Tls:
    """TLS settings from the words of redis-py, Celery, go-redis and lettuce. Raises ValueError for what can't be done."""
    ca, cert, key = (folder / file if (file := options.get(word)) else None for word in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"))
    if key and not cert:
        raise ValueError("ssl_keyfile belongs to an ssl_certfile; give that, too")
    verify, by_name = _verifies(options), options.get("ssl_check_hostname", "true").lower() not in ("false", "0", "no")
    if verify and not by_name and ca is None:
        raise ValueError("ssl_check_hostname=false needs ssl_ca_certs: every public authority's certificate would do")
    return Tls(ca=ca, verify=verify, check_name=by_name or not verify, cert=cert, key=key)


def _verifies(options: Mapping[str, str]) -> bool:
    written = options.get("ssl_cert_reqs", "required").lower().removeprefix("ssl.").removeprefix("cert_")  # Celery: CERT_NONE
    if written not in _VERIFY:
        raise ValueError("ssl_cert_reqs is one of none, optional and required")
    peer = options.get("verifyPeer", "FULL").upper()
    if peer not in ("FULL", "TRUE", "NONE", "FALSE"):
        raise ValueError("verifyPeer is one of FULL and NONE")
    skipped = options.get("skip_verify", "false").lower() not in ("false", "0", "")
    return _VERIFY[written] and peer in ("FULL", "TRUE") and not skipped
