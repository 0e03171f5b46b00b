from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge.observation import Observation
from probes.core import Reason, Verdict
from probes.kinds.tls import Handshake, in_words
from probes.probe import Context
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.ca import NAMES, Authority
from tests.support.context import make_context
from tests.support.engine import Observer
from tests.support.leaks import no_leaks

DAY = 86400.0


def probe(server: servers.Server, authority: Authority, **more: Any) -> Handshake:
    """A check of a server by the tests' authority."""
    tls = {"ca": authority.ca_file} | more.pop("tls", {})
    return Handshake.model_validate({"host": "localhost", "port": server.port, "tls": tls} | more)


async def observed(runs: Observer, authority: Authority, which: str, **more: Any) -> Observation:
    """What a check sees of one of the authority's servers; it leaves nothing behind."""
    async with servers.silent(tls=getattr(authority, which)) as server, no_leaks(serving=server.port):
        return await runs.observe(probe(server, authority, **more))


async def test_a_good_certificate_passes(runs: Observer, authority: Authority) -> None:
    """A certificate that holds passes, and says for how long and until when."""
    seen = await observed(runs, authority, "good", expect={"valid_for": "7d"})
    assert (seen.verdict, seen.reason) == (Verdict.PASS, None), seen.message
    assert seen.message.startswith("valid for 89 d 23 h, until ")
    assert seen.message.endswith(" UTC · TLSv1.3")
    assert list(seen.phases) == ["resolve", "connect", "tls"]


async def test_what_the_certificate_says_fills_the_families(runs: Observer, authority: Authority) -> None:
    """The blackbox_exporter's TLS families are filled, each with what its name says."""
    seen = await observed(runs, authority, "good")
    filled = {family.name: list(family.read(seen.phases, seen.facts)) for family in Handshake.families}
    (((), expiry),) = filled["probe_ssl_earliest_cert_expiry"]
    assert expiry == pytest.approx(seen.at + 90 * DAY, abs=600)
    assert filled["probe_ssl_last_chain_expiry_timestamp_seconds"] == [((), expiry)]
    (((fingerprint, subject, issuer, names, serial), one),) = filled["probe_ssl_last_chain_info"]
    assert (len(fingerprint), one, bool(subject), bool(issuer), bool(serial)) == (64, 1.0, True, True, True)
    assert set(names.split(", ")) == set(NAMES)
    assert filled["probe_tls_version_info"] == [(("TLSv1.3",), 1.0)]
    assert filled["probe_tls_cipher_info"][0][0][0].startswith("TLS_")
    (((), left),) = filled["probe_tls_valid_seconds"]
    assert left == pytest.approx(90 * DAY, abs=600)
    assert {labels for labels, _ in filled["probe_tls_duration_seconds"]} == {("resolve",), ("connect",), ("tls",)}


async def test_a_certificate_that_ends_too_soon(runs: Observer, authority: Authority) -> None:
    """valid_for is a promise: a certificate that ends sooner fails as expired, with what is left and what was wanted."""
    seen = await observed(runs, authority, "soon", expect={"valid_for": "7d"})
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.EXPIRED)
    assert seen.message.startswith("the certificate expires in 2 d 23 h, on ")
    assert seen.message.endswith("; expected at least 7 d left")
    assert (await observed(runs, authority, "soon")).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("which", "reason", "message"),
    [
        ("expired", Reason.EXPIRED, "expired 3 h ago, on 20"),
        ("not_yet", Reason.NOT_YET_VALID, "is not valid until 20"),
        ("wrong_host", Reason.HOSTNAME, "is for other.example, *.other.example, not for localhost"),
        ("self_signed", Reason.UNTRUSTED, "self-signed"),
        ("incomplete", Reason.CHAIN, "the server left out the certificate of"),
        ("stranger", Reason.UNTRUSTED, "the runner doesn't trust the issuer of the chain"),
    ],
)
async def test_a_wrong_certificate_is_shown_all_the_same(
    runs: Observer, authority: Authority, which: str, reason: Reason, message: str
) -> None:
    """Each way of being wrong has its reason and its words; expiry, names and version are metrics also then."""
    seen = await observed(runs, authority, which)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, reason), seen.message
    assert message in seen.message
    filled = {family.name: list(family.read(seen.phases, seen.facts)) for family in Handshake.families}
    assert filled["probe_ssl_earliest_cert_expiry"]
    assert filled["probe_ssl_last_chain_info"]
    assert filled["probe_tls_valid_seconds"][0][1] == pytest.approx(seen.facts["cert_expiry"] - seen.at, abs=5)
    assert not filled["probe_ssl_last_chain_expiry_timestamp_seconds"]
    assert seen.evidence["certificates"]


async def test_an_expired_certificate_counts_below_zero(runs: Observer, authority: Authority) -> None:
    """The seconds that are left go below 0: an alert can tell how long it has been dead."""
    seen = await observed(runs, authority, "expired")
    assert seen.facts["valid_seconds"] == pytest.approx(-DAY / 8, abs=600)


async def test_the_name_can_be_another(runs: Observer, authority: Authority) -> None:
    """tls.server_name is the name that is asked for and verified."""
    seen = await observed(runs, authority, "wrong_host", tls={"server_name": "www.other.example"})
    assert seen.verdict is Verdict.PASS


async def test_an_unverified_certificate_still_has_a_term(runs: Observer, authority: Authority) -> None:
    """With verify: false anything is accepted, and valid_for is judged all the same."""
    seen = await observed(runs, authority, "stranger", tls={"verify": False})
    assert seen.verdict is Verdict.PASS
    seen = await observed(runs, authority, "expired", tls={"verify": False}, expect={"valid_for": "1d"})
    assert seen.reason is Reason.EXPIRED
    assert "expires in -3 h" not in seen.message
    assert "expired 3 h" in seen.message


async def test_an_old_version_is_refused(runs: Observer, authority: Authority) -> None:
    """A server that speaks nothing newer than TLS 1.2 fails where 1.3 is the minimum, and passes where it isn't."""
    async with servers.silent(tls=authority.old) as server:
        seen = await runs.observe(probe(server, authority, tls={"minimum": "1.3"}))
        assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TLS)
        seen = await runs.observe(probe(server, authority))
        assert (seen.verdict, seen.facts["tls_version"]) == (Verdict.PASS, "TLSv1.2")


async def test_no_tls_at_all(runs: Observer, authority: Authority) -> None:
    """A server that speaks something else fails as tls, in words that say so."""
    async with servers.canned(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        seen = await runs.observe(probe(server, authority))
    assert (seen.reason, seen.message) == (Reason.TLS, "the server's response is not TLS")


async def test_the_authorities_of_the_environment(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tls.ca those of SSL_CERT_FILE count, as everywhere on the machine."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    async with servers.silent(tls=authority.good) as server:
        ctx: Context = make_context(Wire())
        result = await Handshake(host="localhost", port=server.port).run(ctx)
    assert result.verdict is Verdict.PASS


async def test_authorities_that_cannot_be_read(runs: Observer, authority: Authority) -> None:
    """A tls.ca that isn't there fails as untrusted and names the file."""
    async with servers.silent(tls=authority.good) as server:
        seen = await runs.observe(probe(server, authority, tls={"ca": "/nowhere/ca.pem"}))
    assert seen.reason is Reason.UNTRUSTED
    assert "/nowhere/ca.pem" in seen.message


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (61, "1 min 1 s"),
        (7200, "2 h"),
        (7 * DAY, "7 d"),
        (3 * DAY + 2 * 3600 + 59, "3 d 2 h"),
        (DAY + 59, "1 d"),
    ],
)
def test_a_term_in_words(seconds: float, words: str) -> None:
    """A stretch of time is told in its two largest units, cut and never rounded up."""
    assert in_words(seconds) == words


@given(st.floats(0, 1e9))
def test_a_term_is_never_told_longer_than_it_is(seconds: float) -> None:
    """What the words say is at most what is left."""
    units = {"d": 86400, "h": 3600, "min": 60, "s": 1}
    words = in_words(seconds).split()
    assert sum(int(n) * units[unit] for n, unit in zip(words[::2], words[1::2], strict=True)) <= seconds
