"""PostgreSQL's connection URLs, read with the configuration, without the environment or any file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from probes.wire.tls import Tls

FORM = "postgresql://role:password@host:5432/database (in a password, write @ as %40, / as %2F, # as %23, ? as %3F)"
_OURS = frozenset({"connect_timeout", "keepalives", "gssencmode", "channel_binding"})  # options that Outrider sets itself
_REFUSED = frozenset(
    {"host", "hostaddr", "port", "user", "password", "dbname", "service", "passfile", "target_session_attrs", "load_balance_hosts"}
    | {"sslcert", "sslkey", "sslpassword", "sslcrl", "sslcrldir", "sslnegotiation", "requiressl", "krbsrvname"}
)


@dataclass(frozen=True, slots=True)
class Dsn:
    """Address and credentials of a database. `tls` is None for none; with `tls_or_plain` a connection without TLS is also accepted."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    settings: Mapping[str, str] = field(default_factory=dict)
    tls: Tls | None = None
    tls_or_plain: bool = False


def read_dsn(text: str, tls: Tls | None = None) -> Dsn:
    """Reads a URL; `tls` (the check's own settings) overrides sslmode. Raises ValueError, whose text contains no secret."""
    split = _split(text)
    options = dict(parse_qsl(split.query, keep_blank_values=True))
    if wrong := sorted(_REFUSED & options.keys()):
        raise ValueError(f"{wrong[0]} is not allowed in the query of a dsn here; write {FORM}")
    mode = options.pop("sslmode", "prefer")
    own_tls, optional = _tls_of(mode, options.pop("sslrootcert", None), tls)
    user = unquote(split.username or "")
    if not user:
        raise ValueError(f"names no role; write {FORM}")
    return Dsn(
        host=unquote(split.hostname or ""),
        port=split.port or 5432,
        user=user,
        password=unquote(split.password or ""),
        database=unquote(split.path[1:]) or user,
        settings={name: value for name, value in options.items() if name not in _OURS},
        tls=own_tls,
        tls_or_plain=optional,
    )


def _split(text: str) -> SplitResult:
    """Splits and checks the URL. urlsplit's own error text may contain a part of the password, so it is not passed on."""
    try:
        split = urlsplit(text)
    except ValueError:
        raise ValueError(f"is no PostgreSQL URL; write {FORM}") from None
    if "," in split.netloc.rpartition("@")[2]:
        raise ValueError("names several hosts: write a check for each, so that each has a verdict of its own")
    if split.scheme.partition("+")[0] not in ("postgresql", "postgres") or not _has_port(split):
        raise ValueError(f"is no PostgreSQL URL; write {FORM}")
    if not split.hostname or "%2f" in split.hostname.lower():
        raise ValueError(f"names no host that can be reached over TCP; write {FORM}")
    return split


def _has_port(split: SplitResult) -> bool:
    try:
        return split.port != 0
    except ValueError:
        return False


def _tls_of(mode: str, ca: str | None, own: Tls | None) -> tuple[Tls | None, bool]:
    """TLS settings for libpq's sslmode, and whether a connection without TLS is accepted."""
    if own is not None:
        if mode == "disable":
            raise ValueError("sslmode=disable contradicts the check's tls settings; leave one of them out")
        return own, False
    authorities = Path(ca) if ca and ca != "system" else None
    match mode:
        case "disable":
            return None, False
        case "prefer":
            return Tls(verify=False), True
        case "require" if authorities is None:
            return Tls(verify=False), False
        case "verify-full":
            return Tls(ca=authorities), False
        case "require" | "verify-ca":
            raise ValueError(f"sslmode={mode} trusts authorities without verifying the name; write verify-full, or tls: {{ca: ...}}")
    raise ValueError("sslmode is one of disable, prefer, require and verify-full")
