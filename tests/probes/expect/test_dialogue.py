from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from judge.observation import Observation
from probes.core import Failed, Reason, Verdict
from probes.expect.dialogue import CAP, LINE_CAP, LINES, DialogueStep, ReceiveBuffer
from probes.kinds.tcp import Tcp
from tests.support import servers
from tests.support.ca import Authority
from tests.support.engine import Observer
from tests.support.leaks import no_leaks

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]

SMTP: list[dict[str, Any]] = [
    {"expect": "^220 (?P<host>[^ ]+) ESMTP", "reject": "^[45]", "labels": {"host": "{{host}}"}},
    {"send": "EHLO outrider"},
    {"expect": "^250[- ]STARTTLS", "reject": "^[45]"},
    {"send": "STARTTLS"},
    {"expect": "^220", "reject": "^[45]", "starttls": True},
    {"send": "QUIT"},
    {"expect": "^221"},
]


def probe(server: servers.Server, *dialogue: dict[str, Any], **more: Any) -> Tcp:
    """A check of a server by these steps."""
    return Tcp.model_validate({"host": "localhost", "port": server.port, "dialogue": dialogue} | more)


async def observed(runs: Observer, talk: Talk, *dialogue: dict[str, Any], within: float = 5.0, **more: Any) -> Observation:
    """What a check sees of a server that talks so; it leaves nothing behind."""
    async with servers.speaking(talk) as server, no_leaks(serving=server.port):
        return await runs.observe(probe(server, *dialogue, **more), within=within)


def filled(seen: Observation, name: str) -> list[tuple[tuple[str, ...], float]]:
    """The samples of one of the kind's families."""
    (family,) = (family for family in Tcp.families if family.name == name)
    return list(family.read(seen.phases, seen.facts))


def mail(authority: Authority, which: str = "good", *, injected: bytes = b"") -> Talk:
    """A mail server with STARTTLS."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx.test ESMTP\r\n")
        assert await reader.readline() == b"EHLO outrider\r\n"
        writer.write(b"250-mx.test\r\n250-SIZE 1000\r\n250 STARTTLS\r\n")
        assert await reader.readline() == b"STARTTLS\r\n"
        writer.write(b"220 go ahead\r\n" + injected)
        await writer.start_tls(getattr(authority, which))
        assert await reader.readline() == b"QUIT\r\n"
        writer.write(b"221 bye\r\n")
        await reader.read()

    return talk


async def test_a_mail_server_with_starttls(runs: Observer, authority: Authority) -> None:
    """A dialogue goes on inside TLS after STARTTLS; phases, certificate and labels are known."""
    seen = await observed(runs, mail(authority), *SMTP, tls={"ca": authority.ca_file})
    assert seen.verdict is Verdict.PASS, seen.message
    assert seen.message.endswith("responds as expected · TLSv1.3")
    assert list(seen.phases) == ["resolve", "connect", "dialogue", "tls"]
    assert filled(seen, "probe_expect_info") == [(("host", "mx.test"), 1.0)]
    assert filled(seen, "probe_failed_due_to_regex") == [((), 0.0)]
    assert filled(seen, "probe_failed_due_to_bytes") == [((), 0.0)]
    assert filled(seen, "probe_ssl_earliest_cert_expiry")


async def test_a_wrong_certificate_after_starttls(runs: Observer, authority: Authority) -> None:
    """The handshake inside a dialogue is judged as any: exact reason, certificate shown."""
    seen = await observed(runs, mail(authority, "expired"), *SMTP, tls={"ca": authority.ca_file})
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.EXPIRED)
    assert filled(seen, "probe_ssl_earliest_cert_expiry")


async def test_words_before_tls_are_no_part_of_it(runs: Observer, authority: Authority) -> None:
    """What comes in the open behind the answer to STARTTLS could be anybody's: protocol."""
    seen = await observed(runs, mail(authority, injected=b"250 injected\r\n"), *SMTP, tls={"ca": authority.ca_file})
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.PROTOCOL)
    assert "14 bytes more than its response" in seen.message


async def test_postgres_is_asked_for_tls_in_bytes(runs: Observer, authority: Authority) -> None:
    """PostgreSQL's SSLRequest, in hex, its one byte of answer, and TLS."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
        writer.write(b"S")
        await writer.start_tls(authority.good)
        await reader.read()

    steps = ({"send_hex": "00000008 04d2162f"}, {"expect_hex": "53", "starttls": True})
    seen = await observed(runs, talk, *steps, tls={"ca": authority.ca_file})
    assert (seen.verdict, seen.facts["tls_version"]) == (Verdict.PASS, "TLSv1.3"), seen.message
    assert filled(seen, "probe_failed_due_to_bytes") == [((), 0.0)]


async def test_other_bytes_fail_at_once(runs: Observer) -> None:
    """Bytes that aren't the expected ones end the run, without waiting for more; both are told."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"N")
        await reader.read()

    seen = await observed(runs, talk, {"send_hex": "00000008 04d2162f"}, {"expect_hex": "53", "starttls": True})
    assert (seen.reason, seen.message) == (Reason.PROTOCOL, "the server sent the bytes 4e, expected 53")
    assert filled(seen, "probe_failed_due_to_bytes") == [((), 1.0)]


async def test_what_was_caught_is_said_again(runs: Observer) -> None:
    """A named group of an earlier expectation fills {{name}} in what is said later."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello nonce=a1$\n")
        writer.write(b"you said " + await reader.readline())
        await reader.read()

    steps = ({"expect": r"nonce=(?P<nonce>\S+)"}, {"send": "again {{nonce}}"}, {"expect": r"^you said again a1\$$"})
    assert (await observed(runs, talk, *steps, newline="lf")).verdict is Verdict.PASS


def _saying(text: bytes, *, stay: bool = False) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        if stay:
            await reader.read()
        else:
            writer.write_eof()
            await reader.read()

    return talk


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        (b"554 no service\r\n", Reason.BODY, 'the server closed the connection after "554 no service"; expected ^220'),
        (b"55", Reason.TRUNCATED, "the connection was closed after 2 bytes of a response; expected ^220"),
        (b"", Reason.TRUNCATED, "the connection was closed before any response; expected ^220"),
        (b"x" * (LINE_CAP + 1), Reason.SIZE, "the server sent a line of more than 64 KiB"),
        (b"x" * 9999 + b"\n" + CAP // 5000 * (b"x" * 4999 + b"\n"), Reason.SIZE, "the server sent more than 1024 KiB"),
        (b"x\n" * (LINES + 1), Reason.SIZE, "the server sent more than 10,000 lines"),
    ],
    ids=["another line", "half a line", "nothing", "a line without end", "too much", "too many lines"],
)
async def test_an_end_without_the_awaited_line(runs: Observer, text: bytes, reason: Reason, message: str) -> None:
    """Another line, half of one, none, one without end and too many: each has its reason and says what was awaited."""
    seen = await observed(runs, _saying(text), {"expect": "^220"})
    assert (seen.verdict, seen.reason, seen.message) == (Verdict.FAIL, reason, message)
    assert filled(seen, "probe_failed_due_to_regex") == [((), 1.0)]


async def test_a_rejected_line_fails_at_once(runs: Observer) -> None:
    """A line that `reject` names ends the run without waiting for the deadline: status."""
    seen = await observed(runs, _saying(b"421 busy\r\n", stay=True), {"expect": "^220", "reject": "^[45]"})
    assert (seen.reason, seen.message) == (Reason.STATUS, 'the server sent "421 busy", expected ^220')


async def test_a_line_that_never_comes(runs: Observer) -> None:
    """At the deadline the step is named, and what was heard before is evidence."""
    seen = await observed(runs, _saying(b"hello\r\n220", stay=True), {"expect": "^hello"}, {"expect": "^220"}, within=0.2)
    assert seen.reason is Reason.TIMEOUT
    assert seen.message == 'no answer within 200ms in dialogue of step 2; "220" had come without a line end'
    assert seen.evidence["received"] == ["hello", "220 (3 bytes without a line end)"]
    assert filled(seen, "probe_failed_due_to_regex") == [((), 1.0)]


async def test_a_prompt_without_a_line_end(runs: Observer) -> None:
    """W16: what had come at the deadline is shown, though it is no line yet."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome\r\nlogin: ")
        await reader.read()

    seen = await observed(runs, talk, {"expect": "^ready"}, within=0.3)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TIMEOUT)
    assert seen.evidence["received"] == ["welcome", "login:  (7 bytes without a line end)"]
    assert seen.message == 'no answer within 300ms in dialogue of step 1; "login: " had come without a line end'


@pytest.mark.parametrize("command", ["STARTTLS", "AUTH TLS", "a1 STARTTLS", "0042 CAPABILITY", "PING"])
async def test_a_command_is_no_secret(runs: Observer, command: str) -> None:
    """W16: a bare command that is sent isn't blotted out of what the server sends; other texts are."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"250 {command}\r\n".encode())
        writer.write(b"250 you sent " + await reader.readline() + b"250 and " + await reader.readline())
        await reader.read()

    steps = [{"send": command}, {"send": "PASS HUNTER2"}, {"expect": "^250 and", "reject": "^550"}, {"expect": "^never"}]
    seen = await observed(runs, talk, *steps, within=0.3)
    assert seen.evidence["received"] == [f"250 {command}", f"250 you sent {command}", "250 and ***"]


async def test_a_password_is_in_no_record(runs: Observer) -> None:
    """What is said is a secret: a server that repeats it puts it into no message and no evidence."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR no such command: " + await reader.readline())
        await reader.read()

    seen = await observed(runs, talk, {"send": "AUTH hunter2-secret"}, {"expect": r"^\+OK", "reject": "^-"})
    assert seen.reason is Reason.STATUS
    assert "hunter2" not in f"{seen!r}"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{}], "an empty step"),
        ([{"expect": "x", "expect_hex": "00"}], "either expect or expect_hex"),
        ([{"send": "x", "send_hex": "00"}], "either send or send_hex"),
        ([{"send": "x", "reject": "y"}], "reject goes with expect"),
        ([{"send": "x", "labels": {"a": "b"}}], "labels goes with expect"),
        ([{"expect_hex": "0"}], "pairs of hex digits"),
        ([{"expect_hex": 53}], "in quotes"),
        ([{"expect": "(?P<a>x)", "send": "{{b}}"}], r"step 1 uses \{\{b\}\}"),
        ([{"send": "{{a}}"}, {"expect": "(?P<a>x)"}], r"step 1 uses \{\{a\}\}"),
        ([{"expect": "(?<!x)"}], "RE2"),
        ([{"starttls": True}, {"starttls": True}], "TLS can start only once"),
    ],
)
def test_steps_that_can_never_work_are_refused(steps: list[dict[str, Any]], message: str) -> None:
    """What no dialogue can mean is an error when the file is read."""
    with pytest.raises(ValidationError, match=message):
        Tcp.model_validate({"host": "db", "port": 1, "dialogue": steps})


@given(st.lists(st.text("ab\r", max_size=5), max_size=5), st.data())
def test_lines_are_the_same_however_they_are_cut(lines: list[str], data: st.DataObject) -> None:
    """Whatever pieces a text comes in, the same lines are heard."""
    text = "".join(f"{line}\n" for line in lines).encode()
    received, found = ReceiveBuffer(), []
    while text:
        cut = data.draw(st.integers(1, len(text)))
        received.feed(text[:cut])
        text = text[cut:]
        while (line := received.line()) is not None:
            found.append(line)
    assert found == [line.rstrip("\r") for line in lines]


def test_bytes_behind_the_expected_ones_stay() -> None:
    """An expectation takes its own bytes and leaves the rest to the next."""
    received = ReceiveBuffer()
    received.feed(b"S220 ready\r\n")
    assert received.take_bytes(b"S")
    assert received.match(DialogueStep.model_validate({"expect": "^220 (?P<word>.*)"})) == {"word": "ready"}
    received.feed(b"E")
    with pytest.raises(Failed, match="the server sent the bytes 45, expected 53"):
        received.take_bytes(b"S")
