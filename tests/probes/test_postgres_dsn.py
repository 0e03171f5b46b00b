from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from probes.kinds.postgres import Postgres
from probes.kinds.postgres.dsn import read_dsn
from probes.wire.tls import Tls


@pytest.mark.parametrize(
    ("dsn", "fault"),
    [
        ("postgresql://u:secret-9@db1,db2/x", "names several hosts: write a check for each, so that each has a verdict of its own"),
        ("postgresql://u:secret-9@db1:5432,db2:5433/x", "names several hosts"),
        ("mysql://u:secret-9@db/x", "is no PostgreSQL URL; write postgresql://role:password@host:5432/database"),
        ("postgresql://u:secret-9@db:port/x", "is no PostgreSQL URL"),
        ("postgresql://u:secret-9@db:0/x", "is no PostgreSQL URL"),
        ("postgresql://u:secret-9/9@db/x", "is no PostgreSQL URL"),
        ("postgresql:///x", "names no host"),
        ("postgresql://u:secret-9@%2Frun%2Fpostgresql/x", "names no host that can be reached over TCP"),
        ("postgresql://db/x", "names no role"),
        ("postgresql://u:secret-9@db/x?sslmode=allow", "sslmode is one of disable, prefer, require and verify-full"),
        ("postgresql://u:secret-9@db/x?sslmode=verify-ca", "sslmode=verify-ca trusts authorities without verifying the name"),
        ("postgresql://u:secret-9@db/x?host=other", "host is not allowed in the query of a dsn here"),
        ("host=db password=secret-9", "is no PostgreSQL URL"),
    ],
)
def test_a_wrong_dsn_says_what_to_write(dsn: str, fault: str) -> None:
    """What can't be read is refused at load, in words that say what to write, and without the password."""
    with pytest.raises(ValidationError) as error:
        Postgres.model_validate({"dsn": dsn})
    (found,) = error.value.errors(include_input=False, include_context=False)
    assert found["loc"] == ("dsn",)
    assert fault in found["msg"]
    assert "secret-9" not in str(error.value)


def test_tls_settings_and_sslmode_disable_contradict() -> None:
    """tls: beside sslmode=disable is a contradiction, said at load."""
    with pytest.raises(ValidationError, match="sslmode=disable contradicts the check's tls settings"):
        Postgres.model_validate({"dsn": "postgresql://u:p@db/x?sslmode=disable", "tls": {}})


@pytest.mark.parametrize(
    ("mode", "tls", "either"),
    [
        ("", Tls(verify=False), True),
        ("?sslmode=prefer", Tls(verify=False), True),
        ("?sslmode=disable", None, False),
        ("?sslmode=require&channel_binding=require&connect_timeout=10", Tls(verify=False), False),
        ("?sslmode=verify-full&sslrootcert=system", Tls(), False),
    ],
)
def test_sslmode_means_what_libpq_means(mode: str, tls: Tls | None, either: bool) -> None:  # noqa: FBT001 - a row of the table
    """disable, prefer (the default), require and verify-full as in libpq; what only a client needs is passed over."""
    read = read_dsn(f"postgresql+asyncpg://u:p@db/x{mode}")
    assert (read.tls, read.tls_or_plain, read.settings) == (tls, either, {})


def test_a_dsn_is_read_whole() -> None:
    """Escapes are decoded, port and database have their defaults, other settings go to the server."""
    read = read_dsn("postgres://us%40er:p%2Fw@[::1]/?search_path=trips")
    assert (read.user, read.password, read.host, read.port, read.database) == ("us@er", "p/w", "::1", 5432, "us@er")
    assert read.settings == {"search_path": "trips"}
    assert "p/w" not in repr(read)


@given(st.text(st.characters(codec="utf-8", exclude_characters="@:/?#[]%"), min_size=6, max_size=12), st.text(max_size=20))
@settings(max_examples=60)
def test_no_error_tells_the_password(password: str, rest: str) -> None:
    """Whatever stands around it, a password is in no error about the dsn."""
    secret = f"zq{password}zq"
    try:
        output = repr(Postgres.model_validate({"dsn": f"postgresql://u:{secret}{rest}"}))
    except ValidationError as error:
        output = f"{error} {error.errors(include_input=False)}"
    assert secret not in output


def test_the_address_is_told_without_the_password() -> None:
    """The address names role, host, port and database, an IPv6 address in brackets."""
    made = Postgres.model_validate({"dsn": "postgresql://outrider:pencil-1@[2001:db8::1]/roadtrip"})
    assert made.address() == "postgresql://outrider@[2001:db8::1]:5432/roadtrip"
