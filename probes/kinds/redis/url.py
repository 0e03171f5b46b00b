"""Redis's connection URLs, read at load."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from probes.wire.tls import Tls

FORM = "redis://user:password@host:6379/0, or rediss:// for TLS (in a password, write @ as %40, / as %2F, # as %23, ? as %3F)"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Where a Redis is and how to enter it; `tls` is None where none is wanted."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    db: int
    tls: Tls | None


def read_redis_url(text: str, tls: Tls | None = None) -> RedisUrl:
    """Reads a URL; `tls` (the check's own settings) takes the place of what the URL says. Raises ValueError, without secrets.

    What the query says to a client beside the database and TLS (timeouts, decoding) is the application's and passed over.
    """
    if "," in text.partition("?")[0].rpartition("@")[2]:
        raise ValueError("names several hosts: write a check for each, so that each has a verdict of its own")
    try:
        split = urlsplit(text)
        port = 6379 if split.port is None else split.port
        options = dict(parse_qsl(split.query))
        db = int(options.get("db") or unquote(split.path).strip("/") or 0)
    except ValueError:  # its own words may quote a piece of the password
        raise ValueError(f"is no Redis URL; write {FORM}") from None
    if split.scheme not in ("redis", "rediss") or not split.hostname or not port or db < 0:
        raise ValueError(f"is no Redis URL; write {FORM}")
    if unsupported := {"ssl_certfile", "ssl_keyfile"} & options.keys():
        raise ValueError(f"{min(unsupported)} is not supported: client certificates can't be given")
    spoken = tls or (_tls_of(options) if split.scheme == "rediss" else None)
    return RedisUrl(
        host=unquote(split.hostname),
        port=port,
        user=unquote(split.username or ""),
        password=unquote(split.password or ""),
        db=db,
        tls=spoken,
    )


def _tls_of(options: dict[str, str]) -> Tls:
    """redis-py's own words for what is verified."""
    authorities = options.get("ssl_ca_certs")
    return Tls(ca=Path(authorities) if authorities else None, verify=options.get("ssl_cert_reqs", "required") != "none")
