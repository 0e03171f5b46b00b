"""Names beyond ASCII, and names that can't be any: one form for DNS, SNI and certificates."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from probes.core import Failed, Reason, Verdict
from probes.fields import host
from probes.kinds.grpc import Grpc
from probes.kinds.http import Http
from probes.kinds.icmp import Icmp
from probes.kinds.tcp import Tcp
from probes.kinds.tls import Handshake
from probes.probe import Probe
from probes.text import ascii_host
from probes.wire.resolver import Resolver
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.asking import answer
from tests.support.context import make_context
from tests.support.engine import Observer

NAMES = {
    "münchen.test": "xn--mnchen-3ya.test",
    "MÜNCHEN.test": "xn--mnchen-3ya.test",
    "straße.test": "xn--strae-oqa.test",  # IDNA 2003 would make it strasse.test, another domain
    "βόλος.test": "xn--nxasmm1c.test",
    "日本語。test": "xn--wgv71a119e.test",
    "xn--mnchen-3ya.test": "xn--mnchen-3ya.test",
    "xn--i-7iq.test": "xn--i-7iq.test",  # an emoji, which IDNA 2008 doesn't know
    "my_db.test.": "my_db.test.",
}


@pytest.mark.parametrize(("written", "asked"), NAMES.items())
@pytest.mark.parametrize("kind", [Tcp, Handshake, Grpc, Icmp])
def test_a_host_may_be_written_as_people_do(kind: type[Probe], written: str, asked: str) -> None:
    """W3: tcp, tls, grpc and icmp take a name in Unicode, and ask for its form by IDNA 2008."""
    port = {} if kind is Icmp else {"port": 9}
    probe = kind.model_validate({"host": written} | port)
    assert asked in probe.address()


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("i❤.test", "is no name by IDNA 2008 .*; write it in its form with xn--"),
        ("mün_chen.test", "is no name by IDNA 2008"),
        ("münchen.test/path", "is no name by IDNA 2008"),
        ("a..b", "a part is empty"),
        (f"{'a' * 64}.test", "more than 63 characters"),
        (".".join(["a" * 60] * 5), "can't be a name"),
        ("http://x", "leave out scheme, port and path"),
    ],
)
def test_what_is_no_name_says_what_to_write(written: str, words: str) -> None:
    """W3: a host that DNS can't ask for is refused at load, for server_name too."""
    with pytest.raises(ValidationError, match=words):
        Tcp.model_validate({"host": written, "port": 1})
    with pytest.raises(ValidationError, match=words):
        Handshake.model_validate({"host": "x", "tls": {"server_name": written}})


@pytest.mark.parametrize("written", ["straße.test", "strasse.test", "münchen.test."])
async def test_a_certificate_for_a_name_beyond_ascii(tmp_path_factory: pytest.TempPathFactory, written: str) -> None:
    """W3: the name in SNI and the one that is verified are the one that DNS is asked for."""
    folder: Path = await asyncio.to_thread(tmp_path_factory.mktemp, "names")
    asked = ascii_host(written).lower().rstrip(".")
    authority = trustme.CA()
    await asyncio.to_thread(authority.cert_pem.write_to_path, str(folder / "ca.pem"))
    await asyncio.to_thread((folder / "hosts").write_text, f"127.0.0.1 {asked}\n")
    context, names = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), list[str | None]()
    await asyncio.to_thread(authority.issue_cert(asked).configure_cert, context)
    context.sni_callback = lambda _tls, name, _context: names.append(name)
    wire = Wire(resolver=Resolver(hosts=folder / "hosts", servers=("127.0.0.1",), port=9))
    async with servers.silent(tls=context) as server:
        probe = Handshake.model_validate({"host": written, "port": server.port, "tls": {"ca": folder / "ca.pem"}})
        result = await probe.run(make_context(wire))
        other = await wire.stream(make_context(wire), written, server.port, probe.tls)  # as a kind that has its host from a URL
        other.abort()
    assert result.verdict is Verdict.PASS
    assert names == [asked, asked]


@pytest.mark.parametrize("written", ["münchen.test", "MÜNCHEN.test", "straße.test", "xn--strae-oqa.test"])
async def test_an_address_beyond_ascii_is_the_checks_own(runs: Observer, tmp_path_factory: pytest.TempPathFactory, written: str) -> None:
    """W3: the rules of a check compare hosts in the form that DNS is asked for: its own address isn't refused."""
    folder: Path = await asyncio.to_thread(tmp_path_factory.mktemp, "names")
    await asyncio.to_thread((folder / "hosts").write_text, f"127.0.0.1 {ascii_host(written).lower()}\n")
    runs.wire = Wire(resolver=Resolver(hosts=folder / "hosts", servers=("127.0.0.1",), port=9))
    async with servers.canned(answer(b"ok")) as server:
        seen = await runs.observe(Http.model_validate({"url": f"http://{written}:{server.port}/"}))
    assert seen.verdict is Verdict.PASS, seen.message


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "i❤.test", "", "." * 5])
async def test_a_name_from_elsewhere_that_is_none(name: str) -> None:
    """W3: a host that no check could have written (a redirect's) fails as dns, and is no fault of the runner."""
    with pytest.raises(Failed) as caught:
        await Resolver().addresses(name, 1.0)
    assert caught.value.reason is Reason.DNS


@given(st.text(max_size=40))
def test_any_text_is_a_host_or_says_why_not(text: str) -> None:
    """What is taken is ASCII and is taken again; everything else is a ValueError."""
    try:
        taken = host(text)
    except ValueError:
        return
    assert taken.isascii()
    assert host(taken) == taken
