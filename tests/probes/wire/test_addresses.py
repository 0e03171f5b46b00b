"""Where a request may go: judged after resolution, at every hop, and of the address that is dialled."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.core import Failed, PolicyRefused, Reason, Verdict
from probes.fields import host
from probes.kinds.dns.servers import read_server
from probes.kinds.http import Http
from probes.target import Target
from probes.text import address_text
from probes.wire.addresses import in_order, literal, read, refusal
from probes.wire.resolver import Resolver
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.asking import answer, ask
from tests.support.context import make_context

METADATA = "169.254.169.254"


@pytest.mark.parametrize(
    "address",
    [
        METADATA,
        "169.254.1.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        f"::ffff:{METADATA}",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::",  # Teredo: the server's address
        "2001:0:102:304::5601:5601",  # and the client's, each bit turned over
        f"::{METADATA}",
        f"::ffff:0:{METADATA}",  # SIIT
        "fd00::5efe:a9fe:a9fe",  # ISATAP
        "2001:db8::200:5efe:a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",  # a network's own NAT64, after 48 bits of prefix
        "64:ff9b:1:aa:a9:fea9:fe00:0",  # after 56
        "64:ff9b:1:aabb:a9:fea9:fe00:0",  # after 64
    ],
)
def test_addresses_that_hand_out_credentials_are_refused_in_every_form(address: str) -> None:
    """Link-local and the clouds' metadata, also inside IPv6."""
    assert "allow_addresses" in (refusal(address, "host.test") or "")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.3.7", "::1", "93.184.216.34", "2001:db8::1", "64:ff9b::a00:1", "fd00::1"])
def test_other_addresses_are_free(address: str) -> None:
    """Private ones too: a prober watches what is inside."""
    assert refusal(address, "host.test") is None


def test_an_exception_is_made_by_name() -> None:
    """Of the very address, in whatever form it comes; not of its neighbours."""
    assert refusal(METADATA, "host.test", {METADATA}) is None
    assert refusal(f"::ffff:{METADATA}", "host.test", {METADATA}) is None
    assert refusal("169.254.169.253", "host.test", {METADATA})


@given(st.ip_addresses(v=4))
def test_every_form_of_an_address_is_read_as_it(ip: ipaddress.IPv4Address) -> None:
    """Decimal, hexadecimal and octal, as inet_aton reads them."""
    parts = str(ip).split(".")
    forms = (str(ip), str(int(ip)), hex(int(ip)), ".".join(f"0{int(part):o}" for part in parts), ".".join(hex(int(p)) for p in parts))
    assert {literal(form) for form in forms} == {str(ip)}


@pytest.mark.parametrize(
    ("family", "wanted"),
    [
        ("any", ["::1", "1.1.1.1", "::2"]),
        ("4", ["1.1.1.1"]),
        ("6", ["::1", "::2"]),
        ("prefer4", ["1.1.1.1", "::1", "::2"]),
        ("prefer6", ["::1", "::2", "1.1.1.1"]),
    ],
)
def test_a_family_is_demanded_or_preferred(family: str, wanted: list[str]) -> None:
    """With `prefer` the other one is the fallback."""
    assert in_order(["::1", "1.1.1.1", "::2"], family) == wanted


@pytest.fixture(name="names")
def _names(tmp_path_factory: pytest.TempPathFactory) -> Wire:
    """A wire that knows names of its own."""
    hosts = tmp_path_factory.mktemp("names") / "hosts"
    hosts.write_text(f"::1 both.test\n127.0.0.1 both.test four.test\n{METADATA} evil.test\n127.0.0.1 2852039166\n")
    return Wire(resolver=Resolver(hosts=hosts, servers=("127.0.0.1",), port=9))


async def test_a_name_is_judged_by_what_it_resolves_to(names: Wire) -> None:
    """A harmless name that leads to the metadata service is refused before anything is dialled."""
    with pytest.raises(PolicyRefused, match=f"evil.test leads to {METADATA}"):
        await ask(make_context(names), "http://evil.test/")


async def test_every_hop_is_judged(names: Wire) -> None:
    """A redirect is where such requests come from."""
    async with servers.canned(answer(b"", b"Location: http://evil.test/latest/meta-data", status=b"302 Found")) as server:
        with pytest.raises(PolicyRefused, match="metadata"):
            await ask(make_context(names), server.url, redirects=3)


async def test_what_is_judged_is_what_is_dialled() -> None:
    """A name that resolves to something else each time (DNS rebinding) is resolved once a connection."""

    class Rebinding(Resolver):
        asked = 0

        async def addresses(self, host: str, within: float, kinds: object = ()) -> tuple[str, ...]:
            """Harmless first, then not."""
            self.asked += 1
            return ("127.0.0.1",) if self.asked == 1 else (METADATA,)

    resolver = Rebinding()
    wire = Wire(resolver=resolver)
    async with servers.canned(answer(), answer()) as server:
        ctx = make_context(wire)
        await ask(ctx, f"http://rebind.test:{server.port}/")
        assert (resolver.asked, ctx.facts["ip"]) == (1, "127.0.0.1")
        with pytest.raises(PolicyRefused):
            await ask(make_context(wire), f"http://rebind.test:{server.port}/")
    await wire.aclose()


def test_a_target_or_a_check_makes_the_exception() -> None:
    """`allow_addresses` of both count; nothing else is opened by it."""
    target = Target(name="t", url=f"http://{METADATA}", allow_addresses=(METADATA,))
    of_target = Http.model_validate({"target": target, "allow_addresses": ["::ffff:127.0.0.1"]})
    assert of_target.route.allowed == {METADATA, "::ffff:127.0.0.1"}


async def test_an_address_of_one_s_own_stands_for_the_host(wire: Wire) -> None:
    """`resolve:` connects there, and the request is still for the host; a redirect elsewhere is resolved as ever."""
    async with servers.canned(answer(b"me"), answer(b"me")) as server:
        ctx = make_context(wire)
        result = await ask(ctx, f"http://api.test:{server.port}/", resolve="127.0.0.1", expect={"text": "me"})

    assert result.verdict is Verdict.PASS
    assert b"Host: api.test:%d" % server.port in server.received
    assert ctx.evidence["addresses"] == ["127.0.0.1"]


async def test_an_address_of_one_s_own_is_judged_too(wire: Wire) -> None:
    """`resolve:` doesn't allow a connection to a forbidden address."""
    with pytest.raises(PolicyRefused, match="metadata"):
        await ask(make_context(wire), "http://api.test/", resolve=METADATA)


async def test_one_family_alone(names: Wire) -> None:
    """`ip: 4` takes no IPv6 address, and `ip: 6` fails as dns where there is none."""
    async with servers.canned(answer()) as server:
        ctx = make_context(names)
        await ask(ctx, f"http://both.test:{server.port}/", ip=4)
        with pytest.raises(Failed) as caught:
            await ask(make_context(names), f"http://four.test:{server.port}/", ip=6)

    assert ctx.evidence["addresses"] == ["127.0.0.1"]
    assert (caught.value.reason, caught.value.message) == (Reason.DNS, "four.test has no IPv6 address")


async def test_the_other_family_is_the_fallback(names: Wire) -> None:
    """`ip: prefer6` comes to IPv4 where nobody listens on IPv6."""
    async with servers.canned(answer()) as server:
        ctx = make_context(names)
        await ask(ctx, f"http://both.test:{server.port}/", ip="prefer6")

    assert ctx.evidence["addresses"] == ["::1", "127.0.0.1"]
    assert ctx.facts["ip_protocol"] == 4


@pytest.mark.parametrize("text", ["10.0.0", "api.test", ""])
def test_what_is_no_address_is_refused_at_load(text: str) -> None:
    """With one to write instead."""
    with pytest.raises(ValueError, match="is no address; write one like"):
        Http.model_validate({"url": "http://api.test/", "resolve": text})


@pytest.mark.parametrize("allowed", [METADATA, f"::ffff:{METADATA}", "::ffff:a9fe:a9fe", "::FFFF:A9FE:A9FE"])
@pytest.mark.parametrize("address", [f"::ffff:{METADATA}", "::ffff:a9fe:a9fe", "0:0:0:0:0:ffff:a9fe:a9fe"])
def test_the_text_of_an_address_decides_nothing(address: str, allowed: str) -> None:
    """U25: versions of Python write an IPv4-mapped address in two ways; each is the same address, as a target and as an exception."""
    assert refusal(address, "host.test", {allowed}) is None
    assert refusal(address, "host.test", {"::ffff:10.0.0.1"})


@given(st.ip_addresses())
def test_an_address_is_written_in_one_way(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """U25: the written address is the same address, and writing it again changes nothing."""
    text = address_text(str(ip))
    assert ipaddress.ip_address(text) == ip
    assert address_text(text) == text
    assert address_text(ip.packed) == text


@pytest.mark.parametrize("text", ["::ffff:7f00:1", "::ffff:127.0.0.1", "0:0:0:0:0:FFFF:127.0.0.1"])
def test_a_mapped_address_ends_in_its_ipv4_form(text: str) -> None:
    """U25: on Python 3.11 as on 3.13, and in every setting that takes an address."""
    assert address_text(text) == read(text) == host(text) == literal(text) == "::ffff:127.0.0.1"
    assert read_server(f"[{text}]:53") == ("::ffff:127.0.0.1", 53)
