"""What a check makes of every value that PostgreSQL can return."""

from __future__ import annotations

import datetime as dt
import json
import struct
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from demo import servers as real
from probes.core import Reason, Verdict
from probes.kinds.postgres import Postgres
from probes.kinds.postgres.values import read_array, read_value
from tests.support.engine import Observer


def probe(server: real.PostgresServer, query: str, expect: Any = None, role: str = real.PROBE) -> Postgres:
    """A check of a real server."""
    settings = {"dsn": f"{server.dsn_of(role)}?sslmode=disable", "query": query}
    return Postgres.model_validate(settings if expect is None else settings | {"expect": expect})


PASSES: tuple[tuple[str, Any], ...] = (
    ("extract(epoch from 'infinity'::timestamptz)", {"above": 86400}),
    ("'Infinity'::numeric", {"above": 1}),
    ("'-Infinity'::numeric", {"below": -1}),
    ("'Infinity'::float8", {"above": 1}),
    ("'-Infinity'::float4", {"below": 1}),
    ("1e400::numeric", {"above": 1}),
    ("1e100000::numeric", {"above": 1}),
    ("-1e100000::numeric", {"below": 1}),
    ("1.50::numeric", 1.5),
    ("2.00::numeric", 2),
    ("123456789012345678901234567890::numeric", 123456789012345678901234567890),
    ("9223372036854775807", 9223372036854775807),
    ("(-32768)::int2", -32768),
    ("4294967295::oid", 4294967295),
    ("pg_current_xact_id_if_assigned()", None),
    ("'77'::xid8", 77),
    ("0.1::float4", 0.1),
    ("0.1::float8", 0.1),
    ("timestamp '0044-03-15 12:00:00 BC'", "0044-03-15T12:00:00 BC"),
    ("timestamptz '20000-01-01 00:00:00.5+00'", "20000-01-01T00:00:00.500000+00:00"),
    ("date '4713-01-01 BC'", "4713-01-01 BC"),
    ("date '5874897-12-31'", "5874897-12-31"),
    ("'infinity'::timestamptz", "infinity"),
    ("'-infinity'::timestamp", "-infinity"),
    ("'infinity'::date", "infinity"),
    ("timestamptz '2026-11-24 12:00:00+00'", "2026-11-24T12:00:00+00:00"),
    ("interval '3 seconds'", {"below": 30}),
    ("interval '3 seconds'", {"below": "30s"}),
    ("interval '90 seconds'", "1m30s"),
    ("interval '90 seconds'", {"in": ["1m", "1m30s"], "not": "30s"}),
    ("interval '90.5 seconds'", 90.5),
    ("interval '-1 second'", {"at_least": "-1s", "below": 0}),
    ("interval '1 year 2 months 3 days'", 365.25 * 86400 + 63 * 86400),
    ("interval '-14 months'", -365.25 * 86400 - 60 * 86400),
    ("row(1, 'a b', null)", '(1,"a b",)'),
    ("p from (values (1, 2)) as p(a, b)", "(1,2)"),
    ("""'{"n": 5, "l": [1, null]}'::jsonb -> 'n'""", 5),
    ("""'{"n": 5}'::jsonb""", {"contains": "n", "type": "object"}),
    ("""'[1, 2]'::json""", [1, 2]),
    ("""'"text"'::jsonb""", "text"),
    ("'null'::jsonb", None),
    ("to_jsonb(1e5000::numeric)", {"above": 1}),
    ("repeat('[', 5000)::text", {"length": 5000}),
    (r"'\x00ff'::bytea", r"\x00ff"),
    ("b'101'", "101"),
    ("b'101'::varbit", "101"),
    ("int4range(1, 5)", "[1,5)"),
    ("'empty'::daterange", "empty"),
    ("int4multirange(int4range(1, 3), int4range(5, 7))", "{[1,3),[5,7)}"),
    ("array[1, null, 3]", [1, None, 3]),
    ("array[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
    ("'[0:1]={7,8}'::int[]", [7, 8]),
    ("'{}'::int[]", []),
    ("array[1.5, 'NaN', 'Infinity']::numeric[]", {"length": 3}),
    ("array['a,b', 'c\"d', 'e\\f', '', 'NULL', null, '{}']", ["a,b", 'c"d', "e\\f", "", "NULL", None, "{}"]),
    ("array[interval '1 minute', null]", [60, None]),
    ("array['infinity', '10000-01-01']::date[]", ["infinity", "10000-01-01"]),
    ("array['{\"a\": 1}']::jsonb[]", [{"a": 1}]),
    ("'{(1,1),(0,0);(2,2),(1,1)}'::box[]", ["(1,1),(0,0)", "(2,2),(1,1)"]),
    ("array['::1/128']::cidr[]", ["::1/128"]),
    ("inet '10.0.0.1'", "10.0.0.1"),
    ("uuid '00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001"),
    ("time '12:00:00'", "12:00:00"),
    ("point(1, 2)", "(1,2)"),
    ("'x'::\"char\"", "x"),
    ("'a'::char(3)", {"matches": "^a"}),
    ("'pg_class'::regclass", "pg_class"),
    ("'1 2'::int2vector", "1 2"),
    ("chr(128512)", "\N{GRINNING FACE}"),
    ("null::int", None),
    ("'30s'", "30s"),
)


@pytest.mark.parametrize(("value", "expect"), PASSES)
async def test_every_value_is_compared_as_checks_yaml_writes_it(
    runs: Observer, postgres: real.PostgresServer, value: str, expect: Any
) -> None:
    """S10a-e: infinities, years beyond Python's, intervals, rows, JSON, bytes and lists are what they are."""
    seen = await runs.observe(probe(postgres, f"select {value}", {"value": expect}))
    assert (seen.verdict, seen.reason) == (Verdict.PASS, None), seen.message
    assert not runs.log


@pytest.mark.parametrize(
    ("value", "expect"),
    [
        *[("'NaN'::float8", {operator: 5}) for operator in ("equals", "not", "above", "below", "at_least", "at_most")],
        ("'NaN'::numeric", {"not": 5}),
        ("'NaN'::float4", {"in": [5]}),
        ("interval '31 seconds'", {"below": "30s"}),
        ("interval '1 minute'", "30s"),
        ("'5'", 5),
        ("""'{"n": "5"}'::jsonb -> 'n'""", 5),
    ],
)
async def test_what_does_not_hold_fails(runs: Observer, postgres: real.PostgresServer, value: str, expect: Any) -> None:
    """S10c, S10e: a NaN passes no comparison, not even `not`; an interval is judged by its seconds."""
    seen = await runs.observe(probe(postgres, f"select {value}", {"value": expect}))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.BODY), seen.message


@pytest.mark.parametrize(
    "query", [";", " ; ;", "-- nothing", "/* a /* nested */ comment */", "--x\n;/* y */", "copy t to stdout", "/* x */ COPY t"]
)
def test_a_query_that_returns_nothing_is_told_at_load(query: str) -> None:
    """S10f: a comment alone, a semicolon and COPY are refused when checks.yaml is read, and not passed as `no row`."""
    with pytest.raises(ValidationError) as error:
        Postgres.model_validate({"dsn": "postgresql://u:p@db/x", "query": query})
    (found,) = error.value.errors(include_input=False, include_context=False)
    assert found["loc"] == ("query",)
    assert "write a SELECT" in found["msg"]


@pytest.mark.parametrize(
    "query", ["-- why\nselect 1", "/* a /* b */ c */ select 1", "; select 1", "select 1; -- done", "select 1 -- ;", "values (1)"]
)
async def test_comments_around_a_query_are_fine(runs: Observer, postgres: real.PostgresServer, query: str) -> None:
    """S10f: only a query without any statement is refused."""
    seen = await runs.observe(probe(postgres, query, {"value": 1}))
    assert (seen.verdict, seen.reason) == (Verdict.PASS, None), seen.message


async def test_a_parameter_has_no_value(runs: Observer, postgres: real.PostgresServer) -> None:
    """S10b: `$1` is the query's fault, said in words, and no fault of the protocol."""
    seen = await runs.observe(probe(postgres, "select $1::int"))
    assert (seen.reason, seen.message) == (Reason.STATUS, "the query has 1 parameter ($1), for which a check gives no value")


@pytest.mark.parametrize(("query", "rows"), [("select from generate_series(1, 3)", 3), ("select", 1), ("do 'begin end'", 0)])
async def test_rows_without_columns_are_rows(runs: Observer, postgres: real.PostgresServer, query: str, rows: int) -> None:
    """S10b: a row without a column has no value, and counts."""
    seen = await runs.observe(probe(postgres, query, {"rows": rows}))
    assert (seen.verdict, seen.evidence["value"]) == (Verdict.PASS, "null"), seen.message


async def test_many_rows_are_counted(runs: Observer, postgres: real.PostgresServer) -> None:
    """Rows are counted as they come, and only the first one is kept."""
    seen = await runs.observe(probe(postgres, "select * from generate_series(1, 30000)", {"value": 1, "rows": 30000}))
    assert seen.verdict is Verdict.PASS, seen.message


async def test_types_of_the_users_own(runs: Observer, postgres: real.PostgresServer) -> None:
    """S10b: enums, domains, rows of a table, and lists of them need no look into the catalogue by us to be shown."""
    owner = await asyncpg.connect(postgres.admin_dsn, ssl=False)
    try:
        await owner.execute(
            "create type mood as enum ('sad', 'so so'); create domain few as int check (value < 9); "
            "create table pair (a int, b text); insert into pair values (1, 'x y'); grant select on pair to outrider; "
            "create type span as range (subtype = float8)"
        )
        for value, wanted in (
            ("'so so'::mood", "so so"),
            ("array['sad', 'so so', null]::mood[]", ["sad", "so so", None]),
            ("5::few", 5),
            ("array[5, null]::few[]", [5, None]),
            ("pair from pair", '(1,"x y")'),
            ("array[pair] from pair", ['(1,"x y")']),
            ("span(1, 2)", "[1,2)"),
            ("array[span(1, 2)]", ["[1,2)"]),
        ):
            seen = await runs.observe(probe(postgres, f"select {value}", {"value": wanted}))
            assert seen.verdict is Verdict.PASS, seen.message
    finally:
        await owner.execute("drop type span; drop table pair; drop domain few; drop type mood")
        await owner.close()


ODD = (
    "0",
    "1",
    "-1",
    "",
    "{}",
    "[]",
    "null",
    "infinity",
    "-infinity",
    "NaN",
    "a",
    "1 2",
    "(1,2)",
    "[1,2)",
    "10000-01-01",
    "12:00",
    "epoch",
)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_every_type_of_the_catalogue(runs: Observer, postgres: real.PostgresServer) -> None:
    """S10: whatever type of pg_type a server returns, alone and in a list, the run has its value and never an error of ours."""
    owner = await asyncpg.connect(postgres.admin_dsn, ssl=False)
    shown_types = set()
    try:
        types = [
            each["oid"] for each in await owner.fetch("select oid::regtype::text as oid from pg_type where typtype in ('b', 'r', 'm')")
        ]
        for name in types:
            for odd in ODD:
                literal = f"'{odd}'::{name}"
                try:
                    await owner.execute(f"select {literal}")
                except asyncpg.PostgresError:
                    continue
                shown_types.add(name)
                for value in (literal,) if name.endswith("[]") else (literal, f"array[{literal}, null]"):
                    seen = await runs.observe(probe(postgres, f"select {value}", role=real.OWNER))
                    if seen.verdict is not Verdict.PASS:  # such as `could not find array type`
                        assert seen.reason is Reason.STATUS, (value, seen.message)
                        assert value != literal, seen.message
                    json.dumps(seen.evidence)
    finally:
        await owner.close()
    assert len(shown_types) > 100
    assert not runs.log


DAYS = (dt.date.min - dt.date(2000, 1, 1)).days, (dt.date.max - dt.date(2000, 1, 1)).days


@given(st.integers(*DAYS), st.integers(0, 86_400_000_000 - 1))
def test_moments_are_those_of_the_calendar(days: int, microseconds: int) -> None:
    """S10b: within Python's years, dates and moments are written as Python writes them."""
    day = dt.date(2000, 1, 1) + dt.timedelta(days)
    assert read_value(1082, struct.pack("!i", days)) == day.isoformat()
    moment = dt.datetime.combine(day, dt.time(), dt.UTC) + dt.timedelta(microseconds=microseconds)
    sent = struct.pack("!q", days * 86_400_000_000 + microseconds)
    assert (read_value(1184, sent), read_value(1114, sent)) == (moment.isoformat(), moment.replace(tzinfo=None).isoformat())


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
def test_any_bytes_of_a_time_are_a_value(moment: int, days: int, months: int) -> None:
    """S10b: no moment, date or interval that fits into PostgreSQL's bytes is an error."""
    assert isinstance(read_value(1184, struct.pack("!q", moment)), str)
    assert isinstance(read_value(1082, struct.pack("!i", days)), str)
    assert isinstance(read_value(1186, struct.pack("!qii", moment, days, months)), int | float)


def test_an_infinite_interval_is_infinite() -> None:
    """S10c: PostgreSQL 17 knows infinite intervals: they are above every duration."""
    assert read_value(1186, struct.pack("!qii", 2**63 - 1, 2**31 - 1, 2**31 - 1)) == float("inf")
    assert read_value(1186, struct.pack("!qii", -(2**63), -(2**31), -(2**31))) == float("-inf")


ELEMENTS = st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=6)


@given(st.lists(ELEMENTS, max_size=5))
def test_lists_of_texts_are_read_as_they_were_written(elements: list[str | None]) -> None:
    """S10d: whatever stands in a text, quoted as PostgreSQL quotes it, it is the list's element again."""
    quoted = ["NULL" if each is None else '"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"' for each in elements]
    assert read_array("{" + ",".join(quoted) + "}", 25) == elements


@given(st.text(alphabet='{},"\\[]=:1a ', max_size=30))
def test_what_is_no_list_stays_a_text(text: str) -> None:
    """S10d: a text that only looks like a list is an error of nobody."""
    assert isinstance(read_array(text, 23), list | str)
