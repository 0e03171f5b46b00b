"""Kind `http`, and through it the wire, its HTTP/1.1 and its TLS, against real servers that misbehave."""

from __future__ import annotations

import contextlib
import errno
import gzip
import zlib
from typing import Any

import pytest
from pydantic import SecretStr

from probes.core import Failed, PolicyRefused, Reason, Verdict
from probes.kinds.http import Http
from probes.target import Target
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.asking import answer, ask, failure
from tests.support.ca import Authority
from tests.support.context import Permit, make_context


async def test_a_good_answer_passes_with_every_phase_and_fact(wire: Wire) -> None:
    """A pass carries the blackbox_exporter's phases, the status, the address and the body's length."""
    ctx = make_context(wire)
    async with servers.canned(answer(b'{"status": "ready"}')) as server:
        result = await ask(ctx, server.url, expect={"json": {"$.status": "ready"}})

    assert result.verdict is Verdict.PASS
    assert list(ctx.phases) == ["resolve", "connect", "processing", "transfer"]
    assert all(seconds >= 0 for seconds in ctx.phases.values())
    assert ctx.facts["status_code"] == 200
    assert ctx.facts["ip"] == "127.0.0.1"
    assert ctx.facts["body_bytes"] == 19
    assert ctx.facts["content_length"] == 19


@pytest.mark.parametrize(
    ("expect", "failed"),
    [
        ({}, None),
        ({"text": "gone"}, None),
        ({"regex": "ready"}, False),
        ({"regex": "ready", "text": "gone"}, False),
        ({"not_regex": "ready"}, True),
        ({"headers": {"content-length": {"matches": "^5$"}}}, False),
    ],
)
async def test_a_failure_by_a_pattern_is_a_fact(wire: Wire, expect: dict[str, Any], failed: bool | None) -> None:  # noqa: FBT001
    """probe_failed_due_to_regex is there in every run of a check with a pattern, and 1 where a pattern decided."""
    ctx = make_context(wire)
    async with servers.canned(answer(b"ready")) as server:
        with contextlib.suppress(Failed):
            await ask(ctx, server.url, expect=expect)
    (family,) = (family for family in Http.families if family.name == "probe_failed_due_to_regex")
    assert list(family.read(ctx.phases, ctx.facts)) == ([] if failed is None else [((), float(failed))])


async def test_a_redirect_away_from_tls(wire: Wire, authority: Authority) -> None:
    """`https_only` fails where a redirect leads from https to http, though that answers well."""
    async with servers.canned(answer()) as plain:
        moved = f"HTTP/1.1 302 Found\r\nLocation: {plain.url}\r\nContent-Length: 0\r\n\r\n".encode()
        async with servers.canned(moved, tls=authority.good) as server:
            asked = {"tls": {"ca": authority.ca_file}, "redirects": 1}
            url = f"https://localhost:{server.port}/"
            assert (await ask(make_context(wire), url, **asked)).verdict is Verdict.PASS
            failed = await failure(make_context(wire), url, **asked, expect={"https_only": True})
    assert (failed.reason, failed.message) == (Reason.TLS, f"the response came from {plain.url}, expected https")


async def test_a_target_can_tell_our_requests_from_its_users(wire: Wire) -> None:
    """Every request carries User-Agent, X-Request-ID and a W3C traceparent, and asks for no compression."""
    ctx = make_context(wire)
    async with servers.canned(answer()) as server:
        await ask(ctx, server.url)

    sent = bytes(server.received).lower()
    assert b"user-agent: outrider/test" in sent
    assert f"traceparent: 00-{ctx.sender.trace_id}-{ctx.sender.span_id}-01".encode() in sent
    assert f"x-request-id: {ctx.sender.request_id}".encode() in sent
    assert b"accept-encoding: identity" in sent


async def test_every_send_is_permitted_first(wire: Wire) -> None:
    """What the permit refuses never reaches the server."""
    async with servers.canned(answer()) as server:
        permit = Permit(server.url)
        with pytest.raises(PolicyRefused):
            await ask(make_context(wire, permit=permit), server.url)

    assert server.connections == 0
    assert permit.asked == [("GET", server.url)]


@pytest.mark.parametrize(
    ("response", "reason", "words"),
    [
        (answer(b"short", length=1000), Reason.TRUNCATED, "after 5 of 1000 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Reason.TRUNCATED, "after 5 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-", Reason.TRUNCATED, "after 25 bytes of the response head"),
        (b"", Reason.TRUNCATED, "before any response"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", Reason.PROTOCOL, "response is not HTTP/1.1"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Reason.PROTOCOL, "response is not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", Reason.PROTOCOL, "response is not HTTP/1.1"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", Reason.PROTOCOL, "switched protocols"),
    ],
)
async def test_a_broken_answer_is_called_by_its_name(wire: Wire, response: bytes, reason: Reason, words: str) -> None:
    """Truncated and malformed answers are told apart, and the message says how much came."""
    async with servers.canned(response, then_close=True) as server:
        failed = await failure(make_context(wire), server.url)

    assert (failed.reason, words in failed.message) == (reason, True), failed.message


@pytest.mark.parametrize(
    ("response", "words"), [(b"", "before any response"), (answer(b"half", length=90), "after 4 of 90 bytes of the body")]
)
async def test_a_reset_says_how_much_had_come(wire: Wire, response: bytes, words: str) -> None:
    """A reset escapes as ConnectionResetError with what had come until then."""
    async with servers.resetting(response, once_asked=True) as server:
        with pytest.raises((ConnectionResetError, Failed)) as caught:
            await ask(make_context(wire), server.url)

    assert words in str(caught.value)


async def test_a_refused_connection_names_the_address(wire: Wire) -> None:
    """ConnectionRefusedError says which address and port refused."""
    async with servers.refusing() as server:
        with pytest.raises(ConnectionRefusedError, match=f"127.0.0.1:{server.port}$"):
            await ask(make_context(wire), server.url)


async def test_an_unreachable_network_is_told(wire: Wire) -> None:
    """ENETUNREACH escapes with its number."""
    with pytest.raises(OSError, match="unreachable") as caught:
        await ask(make_context(wire), f"http://{servers.NO_ROUTE}:80/")

    assert caught.value.errno == errno.ENETUNREACH


async def test_an_endless_body_ends_at_the_cap(wire: Wire) -> None:
    """A body longer than the cap is a failure of size, as soon as the cap is passed."""
    async with servers.endless(b"HTTP/1.1 200 OK\r\n\r\n") as server:
        ctx = make_context(wire)
        failed = await failure(ctx, server.url, body_cap="100kB")

    assert failed.reason is Reason.SIZE
    assert "100,000 bytes" in failed.message
    assert ctx.facts["body_bytes"] == 100_000


async def test_an_endless_head_ends_at_its_cap(wire: Wire) -> None:
    """Headers without end are a failure of size, not of memory."""
    async with servers.endless(b"HTTP/1.1 200 OK\r\n", b"X-More: and more and more\r\n" * 100) as server:
        failed = await failure(make_context(wire), server.url)

    assert failed.reason is Reason.SIZE
    assert "head" in failed.message


@pytest.mark.parametrize("name", [b"gzip", b"deflate"])
async def test_a_bomb_is_defused(wire: Wire, name: bytes) -> None:
    """16 MB of zeros in 16 kB are never unpacked beyond the cap."""
    pack = gzip.compress if name == b"gzip" else zlib.compress
    async with servers.canned(answer(pack(bytes(16_000_000)), b"Content-Encoding: " + name)) as server:
        failed = await failure(make_context(wire), server.url)

    assert failed.reason is Reason.SIZE


async def test_compressed_answers_are_read(wire: Wire) -> None:
    """A server that compresses unasked is understood all the same."""
    async with servers.canned(answer(gzip.compress(b"the road is open"), b"Content-Encoding: gzip")) as server:
        result = await ask(make_context(wire), server.url, expect={"text": "road is open"})

    assert result.verdict is Verdict.PASS


@pytest.mark.parametrize(("encoding", "body"), [(b"br", b"no brotli at all"), (b"gzip", b"no gzip at all")])
async def test_an_encoding_that_lies_is_a_protocol_failure(wire: Wire, encoding: bytes, body: bytes) -> None:
    """What isn't what its Content-Encoding says is named so."""
    async with servers.canned(answer(body, b"Content-Encoding: " + encoding)) as server:
        failed = await failure(make_context(wire), server.url)

    assert failed.reason is Reason.PROTOCOL


async def test_a_redirect_is_no_success_unless_told(wire: Wire) -> None:
    """Without `redirects` a 301 fails, and the message says where it leads."""
    async with servers.canned(answer(b"", b"Location: https://elsewhere.test/", status=b"301 Moved")) as server:
        failed = await failure(make_context(wire), server.url)

    assert failed.reason is Reason.REDIRECT
    assert "https://elsewhere.test/" in failed.message


async def test_redirects_are_followed_as_far_as_told(wire: Wire) -> None:
    """A loop ends at the number of redirects that was asked for; each hop was permitted."""
    permit = Permit()
    async with servers.serve(_Looping) as server:
        failed = await failure(make_context(wire, permit=permit), server.url, redirects=3)

    assert failed.reason is Reason.REDIRECT
    assert len(permit.asked) == 4


class _Looping(servers.Behaviour):
    def respond(self) -> None:
        self.transport.write(answer(b"", b"Location: /again", status=b"302 Found"))


async def test_credentials_stay_with_their_host(wire: Wire) -> None:
    """A redirect to another origin carries neither Authorization nor the user's own headers."""
    async with (
        servers.canned(answer(b"there")) as other,
        servers.canned(answer(b"", b"Location: " + other.url.encode(), status=b"302 Found")) as first,
    ):
        result = await ask(
            make_context(wire), first.url, redirects=1, bearer="token-of-the-first", headers={"X-Api-Key": "key-of-the-first"}
        )

    assert result.verdict is Verdict.PASS
    assert b"token-of-the-first" in first.received
    assert b"key-of-the-first" in first.received
    assert b"of-the-first" not in other.received


async def test_a_head_request_waits_for_no_body(wire: Wire) -> None:
    """HEAD is done when the head is there, though a length is declared."""
    async with servers.canned(answer(b"", length=500)) as server:
        result = await ask(make_context(wire), server.url, method="HEAD")

    assert result.verdict is Verdict.PASS
    assert server.received.startswith(b"HEAD / HTTP/1.1\r\n")


async def test_interim_answers_are_passed_over(wire: Wire) -> None:
    """A 103 before the answer is no answer."""
    async with servers.canned(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(b"real")) as server:
        ctx = make_context(wire)
        result = await ask(ctx, server.url, expect={"text": "real"})

    assert result.verdict is Verdict.PASS
    assert ctx.facts["status_code"] == 200


async def test_bytes_beyond_the_answer_do_no_harm(wire: Wire) -> None:
    """What follows a complete answer is not part of it."""
    async with servers.canned(answer(b"four", b"") + b"and then some") as server:
        result = await ask(make_context(wire), server.url, expect={"status": 200})

    assert result.verdict is Verdict.PASS


async def test_a_body_may_end_with_the_connection(wire: Wire) -> None:
    """Without length or chunks the end of the connection is the end of the body."""
    async with servers.canned(b"HTTP/1.0 200 OK\r\n\r\nall of it", then_close=True) as server:
        result = await ask(make_context(wire), server.url, expect={"text": "all of it"})

    assert result.verdict is Verdict.PASS


async def test_a_line_break_in_a_header_is_never_sent(wire: Wire) -> None:
    """A header value that would smuggle a second header is refused before a byte goes out."""
    async with servers.canned(answer()) as server:
        check = Http.model_validate({"url": server.url}).model_copy(update={"headers": {"X-Note": SecretStr("one\r\nX-Evil: two")}})
        with pytest.raises(PolicyRefused, match="line break"):
            await check.run(make_context(wire))

    assert not server.received


@pytest.mark.parametrize(
    ("which", "reason", "words"),
    [
        ("expired", Reason.EXPIRED, "expired 3 h ago"),
        ("not_yet", Reason.NOT_YET_VALID, "not valid until"),
        ("wrong_host", Reason.HOSTNAME, "is for other.example"),
        ("self_signed", Reason.UNTRUSTED, "self-signed"),
        ("incomplete", Reason.CHAIN, "http://ca.test/issuing.crt"),
        ("stranger", Reason.UNTRUSTED, "the runner doesn't trust the issuer of the chain"),
    ],
)
async def test_certificates_fail_for_the_right_reason_and_keep_their_facts(
    wire: Wire, authority: Authority, which: str, reason: Reason, words: str
) -> None:
    """Each way in which a certificate is wrong has its own reason, and its expiry is known all the same."""
    ctx = make_context(wire)
    async with servers.canned(answer(), tls=getattr(authority, which)) as server:
        failed = await failure(ctx, f"https://localhost:{server.port}/", tls={"ca": str(authority.ca_file)})

    assert (failed.reason, words in failed.message) == (reason, True), failed.message
    assert ctx.facts["cert_expiry"] > 0
    assert ctx.evidence["certificates"]
    assert "tls" in ctx.phases


async def test_https_passes_with_tls_facts(wire: Wire, authority: Authority) -> None:
    """A good certificate passes; version, cipher, names and the verified chain's expiry are facts."""
    ctx = make_context(wire)
    async with servers.canned(answer(b"safe"), tls=authority.good) as server:
        result = await ask(ctx, f"https://localhost:{server.port}/", tls={"ca": str(authority.ca_file)}, expect={"text": "safe"})

    assert result.verdict is Verdict.PASS
    assert list(ctx.phases) == ["resolve", "connect", "tls", "processing", "transfer"]
    assert ctx.facts["tls_version"].startswith("TLSv1.")
    assert ctx.facts["chain_expiry"] >= ctx.facts["cert_expiry"] > ctx.clock.time()
    assert "good.test" in ctx.facts["cert_names"]


async def test_plain_http_on_a_tls_port_is_told(wire: Wire, authority: Authority) -> None:
    """A server that speaks no TLS is called that."""
    async with servers.canned(answer()) as server:
        failed = await failure(make_context(wire), f"https://localhost:{server.port}/", tls={"ca": str(authority.ca_file)})

    assert failed.reason is Reason.TLS
    assert "not TLS" in failed.message


async def test_link_local_addresses_are_never_reached(wire: Wire) -> None:
    """The clouds' metadata services hand out credentials: a check that leads there is refused before it connects."""
    with pytest.raises(PolicyRefused, match="metadata"):
        await ask(make_context(wire), "http://169.254.169.254/latest/meta-data")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "give either target or url"),
        ({"url": "http://x/", "path": "/y"}, "path goes with target"),
        ({"url": "ftp://x/"}, "must begin with http"),
        ({"url": "http://x/", "body": "a", "form": {"b": "c"}}, "one of body, json and form"),
        ({"url": "http://x/", "bearer": "a", "basic": {"user": "u", "password": "p"}}, "either basic or bearer"),
        ({"url": "http://x/", "method": "POST"}, "not to a url of the check's own"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], words: str) -> None:
    """A wrong combination is an error at load, in words that say what to write."""
    with pytest.raises(ValueError, match=words):
        Http.model_validate(settings)


async def test_bodies_are_sent_as_their_kind(wire: Wire) -> None:
    """json, form and body are sent with their content type, basic as RFC 7617 says."""
    target = Target(name="t", url="http://127.0.0.1", allow=("POST /*",))  # type: ignore[arg-type]
    async with servers.canned(answer()) as server:
        here = target.model_copy(update={"url": f"http://127.0.0.1:{server.port}"})
        probe = Http.model_validate(
            {
                "target": "t",
                "path": "/login",
                "method": "POST",
                "form": {"name": "a b"},
                "basic": {"user": "Aladdin", "password": "open sesame"},
            },
            context={"targets": {"t": here}},
        )
        await probe.run(make_context(wire))

    sent = bytes(server.received)
    assert sent.startswith(b"POST /login HTTP/1.1\r\n")
    assert b"QWxhZGRpbjpvcGVuIHNlc2FtZQ==" in sent
    assert b"application/x-www-form-urlencoded" in sent
    assert sent.endswith(b"name=a+b")
