"""A database that lies: the parser is C, and a wrong length would end the runner, not the run."""

from __future__ import annotations

import asyncio
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge.observation import Observation
from probes.core import Reason, Verdict
from probes.kinds.postgres import Postgres
from probes.kinds.postgres.frames import Frames, Malformed
from tests.support import servers
from tests.support.engine import Observer
from tests.support.leaks import no_leaks


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One message as a server sends it."""
    return kind + struct.pack("!i", len(body) + 4) + body


def sasl(step: int, content: bytes) -> bytes:
    """A step of a login by SASL: 10 offers ways, 11 is a challenge, 12 is its end."""
    return message(b"R", struct.pack("!i", step) + content)


OFFERED = b"SCRAM-SHA-256\0\0"
FIRST = b"r=abc,s=c2FsdHNhbHQ=,i=4096"
READY = message(b"Z", b"I")
ENTERED = message(b"R", bytes(4)) + message(b"S", b"server_version\x0015.4\x00") + message(b"K", b"\0\0\0\1\0\0\0\2") + READY
BEGUN = message(b"C", b"BEGIN\0") + message(b"C", b"SET\0") + message(b"Z", b"T")
COLUMN = b"\0\1a\0" + bytes(6) + struct.pack("!ihih", 23, 4, -1, 0)
PREPARED = message(b"1") + message(b"t", b"\0\0") + message(b"T", COLUMN)  # asyncpg asks for it by Flush, so without a Z
GIVEN = message(b"2") + message(b"D", b"\0\1\0\0\0\4\0\0\0\7") + message(b"C", b"SELECT 1\0") + message(b"Z", b"T")
DIALOGUE = [ENTERED, BEGUN, PREPARED, GIVEN]


async def observed(runs: Observer, *responses: bytes) -> Observation:
    """What a check makes of a server that says this; it leaves nothing behind."""
    async with servers.canned(*responses, then_close=True) as server:
        dsn = f"postgresql://outrider:pencil-1@127.0.0.1:{server.port}/roadtrip?sslmode=disable"
        return await runs.observe(Postgres.model_validate({"dsn": dsn, "expect": {"value": 7}}), within=1.0)


async def test_the_dialogue_itself_passes(runs: Observer) -> None:
    """What the other tests break is whole to begin with."""
    seen = await observed(runs, *DIALOGUE)
    assert (seen.verdict, seen.message) == (Verdict.PASS, "select 1 → 7 · PostgreSQL 15.4")


@pytest.mark.parametrize(
    ("responses", "message"),
    [
        ((ENTERED, b"C\x82\x00\x00\nBEGIN\x00" + BEGUN), "a message can't be -2113929206 bytes long"),  # it ended the process
        (
            (ENTERED, BEGUN, message(b"t", b"\0\0T\0\0\0\x1a\0\1a") + bytes(30)),
            "no server sends a message of type 0x00",
        ),  # it held the loop
        ((b"R\0\0\0\3",), "a message can't be 3 bytes long"),
        ((b"E\x7f\xff\xff\xff" + bytes(99),), "a message can't be 2147483647 bytes long"),
        ((READY,), "messages that cannot be read"),
        ((sasl(12, b"v=cnVu"),), "step 12 of the login came out of turn"),  # it ended the process, and so do the next three
        ((sasl(11, FIRST),), "step 11 of the login came out of turn"),
        ((sasl(10, OFFERED) + sasl(12, b"v=cnVu"),), "step 12 of the login came out of turn"),
        ((sasl(10, OFFERED) + sasl(11, FIRST) + sasl(11, FIRST),), "step 11 of the login came out of turn"),
        ((message(b"R", struct.pack("!i", 5)),), "unexpected error while performing authentication"),
        ((message(b"R", struct.pack("!i", 99)),), "the client can't continue: unsupported authentication method"),
        ((ENTERED, BEGUN, message(b"T", b"\0\5abc")), ""),
        ((ENTERED + message(b"D", b"\0\1\0\0\0\1x"),), ""),
        ((ENTERED, READY), "BEGIN began no transaction"),  # the query isn't sent: it could write
        ((ENTERED, BEGUN, PREPARED, message(b"2") + message(b"Z", b"T")), "a message of type Z in response to Execute"),
    ],
)
async def test_messages_that_are_none(runs: Observer, responses: tuple[bytes, ...], message: str) -> None:
    """Malformed messages end the run as protocol, at once, and nothing else."""
    async with no_leaks():
        seen = await observed(runs, *responses)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.PROTOCOL), seen.message
    assert message in seen.message
    assert not runs.log


@pytest.mark.parametrize("rounds", [b"100001", b"2147483647", b"9" * 5000])
async def test_a_login_that_takes_for_ever(runs: Observer, rounds: bytes) -> None:
    """XB1: the server chooses how often a password is hashed, which happens on the loop: above a bound the login ends."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(message(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"))
        nonce = (await reader.read(1000)).rpartition(b"r=")[2]
        writer.write(message(b"R", struct.pack("!i", 11) + b"r=%sabc,s=c2FsdHNhbHQ=,i=%s" % (nonce, rounds)))
        await reader.read(1000)

    async with servers.speaking(talk) as server, no_leaks(serving=server.port):
        dsn = f"postgresql://outrider:pencil-1@127.0.0.1:{server.port}/roadtrip?sslmode=disable"
        seen = await runs.observe(Postgres.model_validate({"dsn": dsn}))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.PROTOCOL), seen.message
    assert "rounds of hashing; at most 100,000 are done" in seen.message


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
async def test_any_damage_is_survived(runs: Observer, seed: int) -> None:
    """Whatever few bytes of a dialogue are damaged, the run has a verdict on the server and the runner lives on."""
    rng = random.Random(seed)  # noqa: S311 - the same damage in every run of the test
    damaged = []
    for _ in range(40):
        dialogue = [bytearray(each) for each in DIALOGUE]
        struck = rng.choice(dialogue)
        for _ in range(rng.randrange(1, 4)):
            struck[rng.randrange(len(struck))] = rng.randrange(256)
        damaged.append([bytes(each) for each in dialogue])
    async with no_leaks():
        seen = await asyncio.gather(*(observed(runs, *each) for each in damaged))
    assert {each.verdict for each in seen} <= {Verdict.PASS, Verdict.FAIL}
    assert not runs.log


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
async def test_any_order_of_messages_is_survived(runs: Observer, seed: int) -> None:
    """S10: whole messages with odd contents, in any order and at any time, are a verdict on the server, and never an error of ours."""
    rng = random.Random(seed)  # noqa: S311 - the same messages in every run of the test
    contents = (
        b"",
        b"\0",
        b"\0\1",
        b"\0\1\xff\xff\xff\xff",
        b"\0\2\0\0\0\0\0\0\0\1x",
        COLUMN,
        b"SFATAL\0C57P01\0Mbye\0\0",
        b"C57P02\0\0",
        b"T",
        b"E",
    )
    types = (16, 20, 21, 26, 114, 700, 1082, 1114, 1186, 1007, 1009, 1187, 1231, 3802, 99999)

    def chosen() -> bytes:
        if rng.random() < 0.3:
            return message(b"T", b"\0\1a\0" + bytes(6) + struct.pack("!ihih", rng.choice(types), 4, -1, 0))
        if rng.random() < 0.3:
            value = rng.randbytes(rng.randrange(24))
            return message(b"D", struct.pack("!hi", 1, len(value)) + value)
        return message(bytes([rng.choice(b"123ACDEGHIKNRSTVWZcdnstv")]), rng.choice(contents))

    dialogues = []
    for _ in range(60):
        dialogue = list(DIALOGUE)
        at = rng.randrange(1, 4)
        dialogue[at] = b"".join(chosen() for _ in range(rng.randrange(4))) + rng.choice((b"", dialogue[at]))
        dialogues.append(dialogue)
    async with no_leaks():
        seen = await asyncio.gather(*(observed(runs, *each) for each in dialogues))
    assert {each.verdict for each in seen} <= {Verdict.PASS, Verdict.FAIL}
    assert not runs.log


@given(st.lists(st.tuples(st.sampled_from([b"C", b"D", b"Z", b"N"]), st.binary(max_size=20)), max_size=6), st.integers(1, 9))
def test_messages_come_out_whole_however_they_came(messages: list[tuple[bytes, bytes]], piece: int) -> None:
    """Cut anywhere on its way, each message comes out once, whole and in order."""
    text = b"".join(message(*each) for each in messages)
    frames = Frames(100)
    came = [frames.feed(text[at : at + piece]) for at in range(0, len(text), piece)]
    assert b"".join(came) == text


@given(st.binary(min_size=5, max_size=60))
def test_what_passes_is_well_formed(data: bytes) -> None:
    """Whatever comes, only messages with a known type and a possible length pass."""
    try:
        passed = Frames(100).feed(data)
    except Malformed:
        return
    while passed:
        length = int.from_bytes(passed[1:5], signed=True)
        assert length >= 4
        assert len(passed) >= 1 + length
        passed = passed[1 + length :]
