"""Redis's connection URLs, read when the configuration is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from probes.wire.tls import Tls

FORM = "redis://user:password@host:6379/0, or rediss:// for TLS (in a password, write @ as %40, / as %2F, # as %23, ? as %3F)"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Address and credentials of a Redis; `tls` is None for a connection without TLS."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    db: int
    tls: Tls | None


def read_redis_url(text: str, tls: Tls | None = None) -> RedisUrl:
    """Reads a URL; `tls` (the check's own settings) overrides the URL's. Raises ValueError, whose text contains no secret.

    Options for the application's own client in the query (timeouts, decoding) are ignored.
    """
    if "," in text.partition("?")[0].rpartition("@")[2]:
        raise ValueError("names several hosts: write a check for each, so that each has a verdict of its own")
    try:
        split = urlsplit(text)
        port = 6379 if split.port is None else split.port
        options = dict(parse_qsl(split.query))
        db = int(options.get("db") or unquote(split.path).strip("/") or 0)
    except ValueError:  # its own text may contain a part of the password
        raise ValueError(f"is no Redis URL; write {FORM}") from None
    if split.scheme not in ("redis", "rediss") or not split.hostname or not port or db < 0:
        raise ValueError(f"is no Redis URL; write {FORM}")
    if unsupported := {"ssl_certfile", "ssl_keyfile"} & options.keys():
        raise ValueError(f"{min(unsupported)} is not supported: client certificates can't be given")
    tls = tls or (_tls_of(options) if split.scheme == "rediss" else None)
    return RedisUrl(
        host=unquote(split.hostname),
        port=port,
        user=unquote(split.username or ""),
        password=unquote(split.password or ""),
        db=db,
        tls=tls,
    )


def _tls_of(options: dict[str, str]) -> Tls:
    """TLS settings from redis-py's options."""
    authorities = options.get("ssl_ca_certs")
    return Tls(ca=Path(authorities) if authorities else None, verify=options.get("ssl_cert_reqs", "required") != "none")
