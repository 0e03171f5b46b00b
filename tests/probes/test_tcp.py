from __future__ import annotations

import pytest
from pydantic import ValidationError

from probes.core import Reason, Verdict
from probes.kinds.tcp import Tcp
from tests.support import servers
from tests.support.ca import Authority
from tests.support.engine import Observer
from tests.support.leaks import no_leaks


async def test_a_port_that_accepts_passes(runs: Observer) -> None:
    """A connection is all that is asked: nothing is said, and no word is waited for."""
    async with servers.silent() as server, no_leaks(serving=server.port):
        seen = await runs.observe(Tcp(host="127.0.0.1", port=server.port))
        await server.left.wait()
    assert (seen.verdict, seen.message) == (Verdict.PASS, f"127.0.0.1:{server.port} accepts connections")
    assert list(seen.phases) == ["resolve", "connect"]
    assert (seen.facts["ip"], seen.facts["ip_protocol"], bytes(server.received)) == ("127.0.0.1", 4, b"")


async def test_with_tls_it_shakes_hands(runs: Observer, authority: Authority) -> None:
    """With tls the handshake must hold, and what it showed is known."""
    async with servers.silent(tls=authority.good) as server, no_leaks(serving=server.port):
        seen = await runs.observe(Tcp.model_validate({"host": "localhost", "port": server.port, "tls": {"ca": authority.ca_file}}))
    assert (seen.verdict, list(seen.phases)) == (Verdict.PASS, ["resolve", "connect", "tls"])
    assert seen.message.endswith("accepts connections · TLSv1.3")


async def test_an_address_without_a_way_is_unreachable(runs: Observer) -> None:
    """Where no route leads, the reason says so and the address is named."""
    seen = await runs.observe(Tcp(host=servers.NO_ROUTE, port=80))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.UNREACHABLE)
    assert servers.NO_ROUTE in seen.message


async def test_a_metadata_address_is_refused(runs: Observer) -> None:
    """No check has business where clouds hand out credentials: fail, policy, and nothing is sent."""
    seen = await runs.observe(Tcp(host="169.254.169.254", port=80))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.POLICY)


@pytest.mark.parametrize("host", ["http://db", "db:5432", "db/x", "", "a b", "-x", "[::1", 5])
def test_a_host_is_a_name_or_an_address(host: object) -> None:
    """Schemes, ports and paths don't belong to a host: refused at load."""
    with pytest.raises(ValidationError, match="name"):
        Tcp.model_validate({"host": host, "port": 80})


@pytest.mark.parametrize(
    ("host", "address"),
    [("[::1]", "[::1]:80"), ("2001:DB8::1", "[2001:db8::1]:80"), ("db.internal.", "db.internal.:80"), ("_sip.db_1", "_sip.db_1:80")],
)
def test_the_address_is_host_and_port(host: str, address: str) -> None:
    """The address names host and port, an IPv6 address in brackets."""
    assert Tcp(host=host, port=80).address() == address
