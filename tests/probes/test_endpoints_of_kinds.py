"""What each kind lets a diagnosis and a re-check do."""

from __future__ import annotations

import pytest

from probes import discover
from probes.kinds.http import Http
from probes.kinds.tcp import Tcp
from probes.kinds.websocket import WebSocket
from probes.probe import Probe
from probes.target import Target
from probes.wire.endpoint import Variation

KINDS = discover()
DOORLESS = {"dns", "heartbeat", "icmp"}  # they connect to nothing
ONCE = {"ai", "booking", "journey"}  # what they send costs money, or does something


def example(kind: str) -> Probe:
    """The kind's first example."""
    targets = {"api": Target(name="api", url="http://127.0.0.1:9")}
    return KINDS[kind].model_validate(KINDS[kind].examples[0], context={"targets": targets})


@pytest.mark.parametrize("kind", sorted(set(KINDS) - DOORLESS))
def test_a_kind_that_connects_says_where(kind: str) -> None:
    """So that its failures can be diagnosed: host and port, as the example has them."""
    endpoint = example(kind).endpoint()
    assert endpoint is not None
    assert endpoint.host == "127.0.0.1"
    assert endpoint.port > 0


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_costs_or_does_something_is_asked_once(kind: str) -> None:
    """AI, partners and journeys are never asked again, neither whole by a diagnosis nor to confirm."""
    probe = example(kind)
    assert probe.repeatable() is (kind not in ONCE)
    if kind in ONCE:
        assert probe.with_variation(Variation(address="127.0.0.1")) is None


def test_a_dialogue_is_said_once() -> None:
    """What is said to a server may do something each time."""
    assert Tcp.model_validate({"host": "h", "port": 9, "dialogue": [{"expect": "^220"}]}).repeatable()
    assert not Tcp.model_validate({"host": "h", "port": 9, "dialogue": [{"send": "SET a 1"}]}).repeatable()
    assert not WebSocket.model_validate({"url": "ws://h/", "dialogue": [{"send": "buy"}]}).repeatable()


def test_a_variation_changes_one_thing() -> None:
    """The address, the verification or the proxy; all else is as the check has it."""
    probe = Http.model_validate({"url": "https://h/", "tls": {"minimum": "1.3"}, "proxy": "http://p:3128"})
    unverified, direct = probe.with_variation(Variation(verify=False)), probe.with_variation(Variation(proxy=False))
    assert isinstance(unverified, Http)
    assert isinstance(direct, Http)
    assert (unverified.route.tls.verify, unverified.route.tls.minimum, unverified.route.proxy) == (False, "1.3", probe.route.proxy)
    assert (direct.route.tls, direct.route.proxy) == (probe.tls, None)
    assert probe.tls.verify
