"""Hosts beyond ASCII: asked as DNS, SNI and certificates have them, and permitted as they are written."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from pydantic import ValidationError

from probes.core import Reason, Verdict
from probes.kinds.http import Http
from probes.kinds.websocket import WebSocket
from probes.target import Target, ascii_url, origin
from tests.support import servers
from tests.support.asking import answer
from tests.support.engine import Observer
from tests.support.websockets import Peer, websocket

HERE = "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("münchen.test", "xn--mnchen-3ya.test"),
        ("MÜNCHEN.test", "xn--mnchen-3ya.test"),
        ("straße.test", "xn--strae-oqa.test"),
        ("xn--strae-oqa.test", "xn--strae-oqa.test"),
        ("xn--i-7iq.test", "xn--i-7iq.test"),
        ("xn--zzzzzzz9999.test", "xn--zzzzzzz9999.test"),
        ("例え.test", "xn--r8jz45g.test"),
    ],
)
@pytest.mark.parametrize("as_target", [False, True])
async def test_an_internationalised_name_is_asked(runs: Observer, host: str, asked: str, *, as_target: bool) -> None:
    """W3, W1d: with a url of its own or as a target, the check's own address is permitted and asked as IDNA 2008 writes it."""
    async with servers.canned(answer(b"well")) as server:
        url = f"http://{host}:{server.port}"
        where = {"target": Target(name="api", url=url)} if as_target else {"url": url}
        seen = await runs.observe(Http.model_validate({**where, "resolve": HERE}))
        assert (seen.verdict, seen.message) == (Verdict.PASS, seen.message), seen.message
    assert f"host: {asked}:{server.port}".encode() in bytes(server.received).lower()


async def test_a_redirect_may_lead_to_an_internationalised_name(runs: Observer) -> None:
    """W3: what a Location writes in Unicode and what checks.yaml writes in its ASCII form are one origin."""
    async with servers.canned(answer(b"well")) as server:
        head = "HTTP/1.1 302 Found\r\nLocation: http://münchen.test:PORT/next\r\nContent-Length: 0\r\n\r\n"
        async with servers.canned(head.replace("PORT", str(server.port)).encode()) as first:
            url = f"http://xn--mnchen-3ya.test:{first.port}/"
            seen = await runs.observe(Http.model_validate({"url": url, "resolve": HERE, "redirects": 1}))
    said = f"http://xn--mnchen-3ya.test:{server.port} is neither an address of this check nor a target"
    assert (seen.reason, said in seen.message) == (Reason.POLICY, True), seen.message  # another port is another origin


@pytest.fixture
def german(tmp_path: Path) -> tuple[Path, ssl.SSLContext, list[str]]:
    """An authority's file, a server's context for straße.test, and the names that clients asked for."""
    authority, asked = trustme.CA(), list[str]()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("xn--strae-oqa.test").configure_cert(context)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path / "ca.pem", context, asked


@pytest.mark.parametrize("host", ["straße.test", "xn--strae-oqa.test", "xn--strae-oqa.test."])
async def test_a_certificate_is_checked_for_the_name_by_idna_2008(
    runs: Observer, german: tuple[Path, ssl.SSLContext, list[str]], host: str
) -> None:
    """W3: straße.test is not strasse.test, neither in the certificate nor in SNI."""
    ca, context, asked = german
    tls = {"ca": str(ca)}
    async with servers.canned(answer(b"well"), tls=context) as server:
        seen = await runs.observe(Http.model_validate({"url": f"https://{host}:{server.port}/", "resolve": HERE, "tls": tls}))
    assert seen.verdict is Verdict.PASS, seen.message
    assert asked == ["xn--strae-oqa.test"]


async def test_a_websocket_of_an_internationalised_name_is_permitted(runs: Observer) -> None:
    """W3: `.localhost` names are loopback's own, so that no resolver is needed."""

    async def talk(peer: Peer) -> None:
        await peer.accepted()
        await peer.pong()
        await peer.goodbye()

    async with websocket(talk) as server:
        seen = await runs.observe(WebSocket.model_validate({"url": f"ws://münchen.localhost:{server.port}/"}))
    assert seen.verdict is Verdict.PASS, seen.message


@pytest.mark.parametrize("host", ["i❤.test", "a..test", f"{'a' * 64}.test"])
def test_a_host_that_can_be_no_name_is_an_error_at_load(host: str) -> None:
    """W3: the message says what to write."""
    with pytest.raises(ValidationError, match="host that can't be a name"):
        Http.model_validate({"url": f"http://{host}/"})


def test_an_origin_is_compared_as_dns_has_it() -> None:
    """W3: user, path and port stay as they are."""
    assert origin("https://Straße.test/x") == origin("https://xn--strae-oqa.test:443/y") != origin("https://strasse.test/x")
    assert ascii_url("http://u:p@MÜNCHEN.test:8080/ü?x=ü") == "http://u:p@xn--mnchen-3ya.test:8080/ü?x=ü"
