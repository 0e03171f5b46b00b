from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from demo import servers as real
from probes.core import Verdict
from probes.kinds.postgres import Postgres
from probes.kinds.postgres.dsn import read_dsn
from probes.wire.tls import Tls
from tests.support.engine import Observer


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
        ("postgresql://u:secret-9@db/x?host=/run/postgresql", "host is not allowed in the query of a dsn here"),
        ("postgresql://db/x", "names no role"),
        ("postgresql://u:secret-9@db/x?sslmode=allow", "sslmode is one of disable, prefer, require, verify-ca and verify-full"),
        ("postgresql://u:secret-9@db/x?sslmode=verify-ca", "sslmode=verify-ca needs sslrootcert"),
        ("postgresql://u:secret-9@db/x?host=other", "host is not allowed in the query of a dsn here"),
        ("host=db password=secret-9", "is no PostgreSQL URL"),
        ("jdbc:postgresql://db/x?user=u&password=secret-9", "is JDBC's form; leave out jdbc: and write postgresql://"),
        ("postgresql://u:secret-9@db/x?ssl=maybe", "ssl is one of disable, prefer, require, verify-ca and verify-full"),
        ("postgresql://u:secret-9@db/x?ssl=true&sslmode=disable", "sslmode and ssl contradict each other"),
        ("postgresql://u:secret-9@db/x?target_session_attrs=primary", "write expect: {role: primary}"),
        ("postgresql://u:secret-9@db/x?sslkey=a.pem", "sslkey belongs to an sslcert"),
        ("postgresql://u:secret-9@db/x?statement_timeout=60s", "is written options=-c%20statement_timeout%3D"),
        ("postgresql://u:secret-9@db/x?sslmod=require", "sslmod is no known word in the query of a dsn; did you mean sslmode?"),
        ("postgresql://u:secret-9@db/x?search_pth=a", "did you mean search_path?"),
        ("postgresql://u:12?secret-9=1@db/x", "is no PostgreSQL URL"),
        ("postgresql://u:secret-9%00@db/x", "holds a NUL character"),
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
        ("?sslmode=require&sslrootcert=system", Tls(), False),
        ("?sslmode=verify-ca&sslrootcert=ca.pem", Tls(ca=Path("ca.pem"), check_name=False), False),
        ("?sslmode=require&sslrootcert=ca.pem", Tls(ca=Path("ca.pem"), check_name=False), False),
        ("?sslmode=require&sslcert=c.pem&sslkey=k.pem", Tls(verify=False, cert=Path("c.pem"), key=Path("k.pem")), False),
    ],
)
def test_sslmode_means_what_libpq_means(mode: str, tls: Tls | None, either: bool) -> None:  # noqa: FBT001 - a row of the table
    """disable, prefer (the default), require, verify-ca and verify-full as in libpq; what only a client needs is passed over."""
    read = read_dsn(f"postgresql+asyncpg://u:p@db/x{mode}")
    assert (read.tls, read.tls_or_plain, read.settings) == (tls, either, {})


@pytest.mark.parametrize(
    ("url", "tls", "either"),
    [
        ("postgresql+asyncpg://u:p@db/x?ssl=require", Tls(verify=False), False),
        ("postgresql+asyncpg://u:p@db/x?ssl=verify-full&prepared_statement_cache_size=0", Tls(), False),
        ("postgresql+psycopg2://u:p@db/x?sslmode=require&pool_size=5", Tls(verify=False), False),
        ("postgres://u:p@db/x?ssl=true", Tls(verify=False), False),
        ("postgres://u:p@db/x?ssl=false", None, False),
        ("postgres://u:p@db/x?sslmode=no-verify&uselibpqcompat=true", Tls(verify=False), False),
        ("postgresql://u:p@db/x?pgbouncer=true&connection_limit=1&pool_timeout=10&socket_timeout=5", Tls(verify=False), True),
        ("postgresql://u:p@db/x?sslmode=require&sslaccept=strict", Tls(), False),
        ("postgresql://u:p@db/x?sslmode=require&sslaccept=accept_invalid_certs", Tls(verify=False), False),
        ("postgresql://u:p@db/x?sslmode=require&channel_binding=require&supa=base-pooler.x", Tls(verify=False), False),
        ("postgresql://db/x?user=u&password=p", Tls(verify=False), True),
    ],
)
def test_urls_as_platforms_hand_them_out(url: str, tls: Tls | None, either: bool) -> None:  # noqa: FBT001 - a row of the table
    """S12: words for the application's own client are passed over, and `ssl` means what its client means; none becomes a server setting."""
    read = read_dsn(url)
    assert (read.user, read.password, read.tls, read.tls_or_plain) == ("u", "p", tls, either)
    assert (read.settings, read.startup) == ({}, {})


@pytest.mark.parametrize("word", ["schema", "search_path", "currentSchema", "schema_search_path"])
async def test_a_schema_is_where_the_query_looks(runs: Observer, postgres: real.PostgresServer, word: str) -> None:
    """S12: a schema in the URL is set in the transaction, so that no pooler refuses it, and whatever characters it has."""
    dsn = f"{postgres.dsn}?sslmode=disable&{word}=it's%5Chere"
    seen = await runs.observe(
        Postgres.model_validate({"dsn": dsn, "query": "select current_setting('search_path')", "expect": {"value": "it's\\here"}})
    )
    assert seen.verdict is Verdict.PASS, seen.message


async def test_what_the_server_reads_at_the_start(runs: Observer, postgres: real.PostgresServer) -> None:
    """S12: options and application_name go to the server as libpq sends them."""
    dsn = f"{postgres.dsn}?sslmode=disable&application_name=mine&options=-c%20work_mem%3D99kB"
    query = "select current_setting('application_name') || current_setting('work_mem')"
    seen = await runs.observe(Postgres.model_validate({"dsn": dsn, "query": query, "expect": {"value": "mine99kB"}}))
    assert seen.verdict is Verdict.PASS, seen.message


@given(st.dictionaries(st.text(min_size=1, max_size=12), st.text(max_size=12), max_size=4))
def test_a_query_is_known_or_refused_at_load(words: dict[str, str]) -> None:
    """S12: no unknown word reaches a server."""
    try:
        read = read_dsn(f"postgresql://u:p@db/x?{urlencode(words)}")
    except ValueError:
        return
    assert {*read.settings, *read.startup} <= {"search_path", "application_name", "options"}


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


@pytest.mark.parametrize("dsn", ["postgresql://u:p@%2Frun%2Fpg:5433/x", "postgresql://u:p@/x?host=/run/pg&sslmode=require"])
def test_a_unix_socket_is_a_folder_and_a_port(dsn: str) -> None:
    """The folder of a Unix socket stands where libpq takes it; there is no TLS on it, and no endpoint to try."""
    read = read_dsn(dsn)
    assert read.socket == f"/run/pg/.s.PGSQL.{read.port}"
    assert (read.tls, read.database) == (None, "x")
    made = Postgres.model_validate({"dsn": dsn})
    assert (made.address(), made.endpoint()) == (f"postgresql://u@/run/pg/.s.PGSQL.{read.port}/x", None)


def test_the_address_is_told_without_the_password() -> None:
    """The address names role, host, port and database, an IPv6 address in brackets."""
    made = Postgres.model_validate({"dsn": "postgresql://outrider:pencil-1@[2001:db8::1]/roadtrip"})
    assert made.address() == "postgresql://outrider@[2001:db8::1]:5432/roadtrip"
