from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from h2.errors import ErrorCodes
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from judge.observation import Observation
from probes.core import Failed, PolicyRefused, Reason, Verdict
from probes.kinds.grpc import Grpc
from probes.kinds.grpc.messages import SERVING, check_request, serving_status
from tests.support import calls, servers
from tests.support.ca import Authority, make_authority
from tests.support.calls import GRPC, Call
from tests.support.calls import SERVING as MESSAGE
from tests.support.context import Permit, context
from tests.support.engine import Observer
from tests.support.leaks import no_leaks


async def observed(runs: Observer, talk: Callable[[Call], object], *, within: float = 5.0, **settings: Any) -> Observation:
    """What a check sees of a server that answers so; it leaves nothing behind."""
    async with calls.calls(talk) as server, no_leaks(serving=server.port):
        probe = Grpc.model_validate({"host": "127.0.0.1", "port": server.port} | settings)
        return await runs.observe(probe, within=within)


def filled(seen: Observation, name: str) -> list[tuple[tuple[str, ...], float]]:
    """The samples of one of the kind's families."""
    (family,) = (family for family in Grpc.families if family.name == name)
    return list(family.read(seen.phases, seen.facts))


async def test_credentials_in_metadata_are_hidden(runs: Observer) -> None:
    """W16: neither headers nor trailers of a response show a cookie, a token or what an address carries of them."""

    def talk(call: Call) -> None:
        secrets = [("set-cookie", "session=open-sesame"), ("location", "https://me:open-sesame@h/?key=open-sesame"), ("server", "envoy")]
        call.answer([*GRPC, *secrets], MESSAGE, [("grpc-status", "0"), ("authentication-info", "open-sesame")])

    shown = (await observed(runs, talk)).evidence["response"]
    assert shown["headers"]["location"] == "https://h/?key=(secret)"
    assert shown["headers"]["server"] == "envoy"
    assert (shown["headers"]["set-cookie"], shown["trailers"]["authentication-info"]) == ("(secret)", "(secret)")


async def test_a_server_that_serves(runs: Observer) -> None:
    """A SERVING answer passes; the call, its status and the serving status are known."""
    came: list[Call] = []

    def talk(call: Call) -> None:
        came.append(call)
        call.serving()

    seen = await observed(runs, talk, service="trip.v1.Stories", metadata={"authorization": "Bearer t0ken-of-mine"}, within=3.0)
    assert (seen.verdict, seen.message) == (Verdict.PASS, "trip.v1.Stories is SERVING"), seen.message
    assert [label for label, _ in filled(seen, "probe_grpc_duration_seconds")] == [("resolve",), ("connect",), ("check",)]
    assert filled(seen, "probe_grpc_ssl") == [((), 0.0)]
    assert filled(seen, "probe_grpc_status_code") == [((), 0.0)]
    serving = filled(seen, "probe_grpc_healthcheck_response")
    assert serving == [((status,), float(status == "SERVING")) for status in SERVING]
    (call,) = came
    assert (call.headers[":method"], call.headers[":path"]) == ("POST", "/grpc.health.v1.Health/Check")
    assert (call.headers["te"], call.headers["content-type"]) == ("trailers", "application/grpc+proto")
    assert call.headers["authorization"] == "Bearer t0ken-of-mine"
    assert 2000 < int(call.headers["grpc-timeout"].removesuffix("m")) <= 3000
    assert call.body == b"\x00\x00\x00\x00\x11\x0a\x0ftrip.v1.Stories"


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"", "UNKNOWN"),
        (b"\x08\x02", "NOT_SERVING"),
        (b"\x08\x03", "SERVICE_UNKNOWN"),
        (b"\x08\x63", "99"),
        (b"\x12\x01x\x08\x02", "NOT_SERVING"),
    ],
)
async def test_a_server_that_does_not(runs: Observer, message: bytes, status: str) -> None:
    """Any other serving status is a failure, body; unless it is the expected one."""

    def talk(call: Call) -> None:
        call.serving(b"\x00" + len(message).to_bytes(4) + message)

    seen = await observed(runs, talk)
    assert (seen.verdict, seen.reason, seen.message) == (Verdict.FAIL, Reason.BODY, f"the server is {status}, expected SERVING")
    assert filled(seen, "probe_grpc_status_code") == [((), 0.0)]
    if status == "NOT_SERVING":
        assert (await observed(runs, talk, expect="NOT_SERVING")).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [
        (12, Reason.STATUS, 'UNIMPLEMENTED: "said so"; the server doesn\'t offer grpc.health.v1.Health'),
        (5, Reason.STATUS, 'NOT_FOUND: "said so"; the server doesn\'t know the health of "trip"'),
        (16, Reason.AUTH, 'UNAUTHENTICATED: "said so"'),
        (7, Reason.AUTH, 'PERMISSION_DENIED: "said so"'),
        (8, Reason.THROTTLED, 'RESOURCE_EXHAUSTED: "said so"'),
        (4, Reason.TIMEOUT, 'DEADLINE_EXCEEDED: "said so"'),
        (14, Reason.STATUS, 'UNAVAILABLE: "said so"'),
        (77, Reason.STATUS, '77: "said so"'),
    ],
)
async def test_a_refused_call(runs: Observer, code: int, reason: Reason, message: str) -> None:
    """Each status has its reason and the server's own words, in an answer of headers alone as behind a message."""
    seen = await observed(runs, lambda call: call.refused(code, "said%20so"), service="trip")
    assert (seen.verdict, seen.reason, seen.message) == (Verdict.FAIL, reason, message)
    assert filled(seen, "probe_grpc_status_code") == [((), float(code))]
    assert filled(seen, "probe_grpc_healthcheck_response") == []
    seen = await observed(runs, lambda call: call.serving(code=code), service="trip")
    assert seen.reason is reason


@dataclass(frozen=True)
class Broken:
    """A way to answer that is no answer of gRPC's, and what is said of it."""

    talk: Callable[[Call], object]
    reason: Reason
    message: str


def _goaway(call: Call) -> None:
    call.h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM, additional_data=b"too_many_pings", last_stream_id=0)
    call.flush()


def _stop(call: Call) -> None:
    call.h2.close_connection(ErrorCodes.NO_ERROR, last_stream_id=0)
    call.flush()


def _reset(call: Call) -> None:
    call.h2.reset_stream(call.stream, ErrorCodes.REFUSED_STREAM)
    call.flush()


def _cut(call: Call) -> None:
    call.h2.send_headers(call.stream, list(GRPC))
    call.h2.send_data(call.stream, calls.SERVING[:4])
    call.flush()
    call.writer.write_eof()


def _long(call: Call) -> None:
    call.h2.send_headers(call.stream, list(GRPC))
    for _ in range(5):
        call.h2.send_data(call.stream, b"x" * 16000)
    call.flush()


BROKEN = {
    "GOAWAY with a complaint": Broken(
        _goaway, Reason.PROTOCOL, "the server closed the connection before any response: GOAWAY ENHANCE_YOUR_CALM (too_many_pings)"
    ),
    "GOAWAY of one that stops": Broken(_stop, Reason.RESET, "the server closed the connection before any response: GOAWAY NO_ERROR"),
    "RST_STREAM": Broken(_reset, Reason.RESET, "the server reset the stream before any response: REFUSED_STREAM"),
    "half-close": Broken(_cut, Reason.TRUNCATED, "the connection was closed after 4 bytes of the body"),
    "half a message": Broken(
        lambda call: call.answer(GRPC, calls.SERVING[:-1], [("grpc-status", "0")]),
        Reason.TRUNCATED,
        "the response ended after 6 bytes, in the middle of its message",
    ),
    "no message": Broken(
        lambda call: call.answer([*GRPC, ("grpc-status", "0")]),
        Reason.TRUNCATED,
        "the response ended after 0 bytes, in the middle of its message",
    ),
    "two messages": Broken(lambda call: call.serving(calls.SERVING * 2), Reason.PROTOCOL, "the response has more than one message"),
    "compressed": Broken(
        lambda call: call.serving(b"\x01" + calls.SERVING[1:]),
        Reason.PROTOCOL,
        "the message in the response is compressed, which the request didn't ask for",
    ),
    "no status": Broken(lambda call: call.answer(GRPC, calls.SERVING), Reason.PROTOCOL, "the response is not gRPC: no grpc-status"),
    "no number": Broken(lambda call: call.answer([*GRPC, ("grpc-status", "x")]), Reason.PROTOCOL, "grpc-status is not a number"),
    "a web page": Broken(
        lambda call: call.answer([(":status", "200"), ("content-type", "text/html")], b"<html>"),
        Reason.PROTOCOL,
        "the response is not gRPC: 200 with text/html",
    ),
    "a web server's 404": Broken(lambda call: call.answer([(":status", "404")]), Reason.STATUS, "404, expected 200"),
    "a proxy's 401": Broken(lambda call: call.answer([(":status", "401")]), Reason.AUTH, "401, expected 200"),
    "a proxy's 503": Broken(
        lambda call: call.answer([(":status", "503"), ("content-type", "text/plain")], b"no upstream"),
        Reason.STATUS,
        "503, expected 200: no upstream",
    ),
    "too long": Broken(_long, Reason.SIZE, "the response exceeds 64 KiB"),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_an_answer_that_is_none(runs: Observer, how: str) -> None:
    """Whatever comes instead of an answer of gRPC's has its exact reason, and says what came."""
    seen = await observed(runs, BROKEN[how].talk)
    assert (seen.verdict, seen.reason, seen.message) == (Verdict.FAIL, BROKEN[how].reason, BROKEN[how].message)


async def test_a_goodbye_before_the_answer(runs: Observer) -> None:
    """A server that stops, and says so, may still answer our call: that answer counts."""

    def talk(call: Call) -> None:
        call.writer.write(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + call.stream.to_bytes(4) + bytes(4))
        call.serving()

    assert (await observed(runs, talk)).verdict is Verdict.PASS


async def test_http_1_is_no_grpc(runs: Observer) -> None:
    """A server of HTTP/1.1 alone is named as what it is: its answer begins the message."""
    async with servers.canned(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        seen = await runs.observe(Grpc(host="127.0.0.1", port=server.port))
    assert seen.reason is Reason.PROTOCOL
    assert seen.message.startswith("the server's response is not HTTP/2: it begins b'HTTP/1.1 400")


async def test_no_answer_within_the_deadline(runs: Observer) -> None:
    """A call that is never answered fails at the deadline; the time until then is the call's."""
    seen = await observed(runs, lambda _: None, within=0.2)
    assert (seen.reason, seen.message) == (Reason.TIMEOUT, "no answer within 200ms in processing")
    assert filled(seen, "probe_grpc_duration_seconds")[-1][0] == ("check",)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority whose servers may be told to offer HTTP/2: that of the session is shared."""
    return make_authority(tmp_path_factory.mktemp("own-ca"))


def _offering(context: ssl.SSLContext, *alpn: str) -> ssl.SSLContext:
    context.set_alpn_protocols(list(alpn))
    return context


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ("good", None),
        ("expired", Reason.EXPIRED),
        ("not_yet", Reason.NOT_YET_VALID),
        ("wrong_host", Reason.HOSTNAME),
        ("stranger", Reason.UNTRUSTED),
    ],
)
async def test_over_tls(runs: Observer, own: Authority, which: str, reason: Reason | None) -> None:
    """Over TLS the certificate is judged and shown as everywhere, and HTTP/2 is agreed on by ALPN."""
    async with calls.calls(Call.serving, tls=_offering(getattr(own, which), "h2")) as server, no_leaks(serving=server.port):
        seen = await runs.observe(Grpc.model_validate({"host": "localhost", "port": server.port, "tls": {"ca": own.ca_file}}))
    assert seen.reason is reason, seen.message
    assert filled(seen, "probe_ssl_earliest_cert_expiry")
    if reason is None:
        assert filled(seen, "probe_grpc_ssl") == [((), 1.0)]


async def test_tls_without_http_2(runs: Observer, authority: Authority) -> None:
    """A server that doesn't agree to HTTP/2 in the handshake is no gRPC server: protocol."""
    async with servers.silent(tls=authority.good) as server:
        seen = await runs.observe(Grpc.model_validate({"host": "localhost", "port": server.port, "tls": {"ca": authority.ca_file}}))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.PROTOCOL)
    assert "HTTP/2" in seen.message


async def test_the_call_passes_the_permit() -> None:
    """The call is a POST to the health service and nothing else: refused, nothing is sent."""
    async with servers.silent() as server:
        url = f"http://127.0.0.1:{server.port}/grpc.health.v1.Health/Check"
        permit = Permit(url)
        async with context(permit=permit) as ctx:
            probe = Grpc(host="127.0.0.1", port=server.port)
            with pytest.raises(PolicyRefused):
                await probe.run(ctx)
        assert permit.asked == [("POST", url)] == [(ask.method, ask.url) for ask in probe.asks()]
        assert server.connections == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metadata": {"Authorization": "x"}}, "lower-case"),
        ({"metadata": {"a b": "x"}}, "lower-case"),
        ({"metadata": {"grpc-timeout": "1S"}}, "belong to the protocol"),
        ({"metadata": {"trace-bin": "x"}}, "are bytes"),
        ({"expect": "serving"}, "SERVING"),
    ],
)
def test_settings_that_can_never_work_are_refused(settings: dict[str, Any], message: str) -> None:
    """What no call can carry is an error when the file is read."""
    with pytest.raises(ValidationError, match=message):
        Grpc.model_validate({"host": "x", "port": 1} | settings)


@given(st.text(max_size=300))
def test_any_service_can_be_asked_for(name: str) -> None:
    """The request holds the name as protobuf does: a length in sevens of bits, and UTF-8."""
    message = check_request(name)
    assert (message[0], int.from_bytes(message[1:5])) == (0, len(message) - 5)
    assert message.endswith(name.encode())
    assert (len(message) == 5) == (name == "")


@given(st.binary(max_size=40))
def test_any_bytes_are_an_answer_or_a_failure(body: bytes) -> None:
    """Whatever comes as a message is a serving status or a failure with a reason, never an accident."""
    assert _reason(b"\x00" + len(body).to_bytes(4) + body) in (None, Reason.PROTOCOL)


def _reason(body: bytes) -> Reason | None:
    try:
        serving_status(body)
    except Failed as failed:
        return failed.reason
    return None
