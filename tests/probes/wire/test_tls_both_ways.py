"""TLS in which the server asks, too: client certificates, names (SNI), versions."""

from __future__ import annotations

import ssl
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from judge.observation import Observation
from probes.core import Reason, Verdict
from probes.kinds.http import Http
from probes.kinds.tls import Handshake
from probes.wire.tls import Tls
from tests.support.engine import Observer
from tests.support.handshakes import shaking
from tests.support.leaks import no_leaks

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Both:
    """One authority for both sides; a client's certificate with its key, apart and together, and one that a stranger signed.

    wanting_1_2, wanting_1_3: servers of one version that want a certificate of this authority. plain: one that wants none.
    ancient: one that speaks TLS 1.1 alone.
    """

    ca_file: Path
    both: Path
    cert: Path
    key: Path
    stranger: Path
    wanting_1_2: ssl.SSLContext
    wanting_1_3: ssl.SSLContext
    plain: ssl.SSLContext
    ancient: ssl.SSLContext


def _server(ca: trustme.CA, version: ssl.TLSVersion | None = None, *, wanting: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", "other.test").configure_cert(context)
    if wanting:
        ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def _ancient(ca: trustme.CA) -> ssl.SSLContext:
    context = _server(ca)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Made once: keys are slow."""
    folder = tmp_path_factory.mktemp("both")
    ca = trustme.CA()
    client = ca.issue_cert("probe.test")
    ca_file, both, cert, key, stranger = (folder / f"{name}.pem" for name in ("ca", "both", "cert", "key", "stranger"))
    ca.cert_pem.write_to_path(str(ca_file))
    client.private_key_and_cert_chain_pem.write_to_path(str(both))
    client.cert_chain_pems[0].write_to_path(str(cert))
    client.private_key_pem.write_to_path(str(key))
    trustme.CA().issue_cert("probe.test").private_key_and_cert_chain_pem.write_to_path(str(stranger))
    older, newer = (_server(ca, version, wanting=True) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
    return Both(ca_file, both, cert, key, stranger, older, newer, _server(ca), _ancient(ca))


async def observed(runs: Observer, sides: Both, context: ssl.SSLContext, **tls: Any) -> Observation:
    """What a check sees of a server with this context; it leaves nothing behind."""
    async with shaking(context) as server, no_leaks(serving=server.port):
        return await runs.observe(Handshake.model_validate({"host": "localhost", "port": server.port, "tls": {"ca": sides.ca_file} | tls}))


@pytest.mark.parametrize("which", ["wanting_1_2", "wanting_1_3"])
async def test_our_certificate_is_shown(runs: Observer, sides: Both, which: str) -> None:
    """A server that asks for a certificate gets ours, with the key in the same file or in one of its own."""
    context = getattr(sides, which)
    seen = await observed(runs, sides, context, cert=sides.both)
    assert seen.verdict is Verdict.PASS, seen.message
    seen = await observed(runs, sides, context, cert=sides.cert, key=sides.key)
    assert seen.verdict is Verdict.PASS, seen.message


async def test_no_certificate_where_one_is_wanted(runs: Observer, sides: Both) -> None:
    """The server's own certificate is known; TLS 1.3 tells us behind the handshake that ours was wanted: auth."""
    seen = await observed(runs, sides, sides.wanting_1_3)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.AUTH)
    assert seen.message == "the server requires a client certificate (tls.cert)"
    assert seen.facts["cert_expiry"] > seen.at
    seen = await observed(runs, sides, sides.wanting_1_2)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TLS)
    assert "requires a client certificate (tls.cert)" in seen.message
    assert seen.facts["cert_expiry"] > seen.at


@pytest.mark.parametrize("which", ["wanting_1_2", "wanting_1_3"])
async def test_a_strangers_certificate(runs: Observer, sides: Both, which: str) -> None:
    """A certificate that the server doesn't trust is refused, and the reason is auth, not the server's certificate."""
    seen = await observed(runs, sides, getattr(sides, which), cert=sides.stranger)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.AUTH), seen.message
    assert "the authority of the client certificate" in seen.message
    assert seen.facts["cert_expiry"] > seen.at


async def test_over_http_the_reason_is_the_same(runs: Observer, sides: Both) -> None:
    """In TLS 1.3 the alert comes in place of the response: every kind reports it as what it is."""
    async with shaking(sides.wanting_1_3, ANSWER) as server, no_leaks(serving=server.port):
        settings = {"url": f"https://localhost:{server.port}/", "tls": {"ca": sides.ca_file}}
        seen = await runs.observe(Http.model_validate(settings))
        assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.AUTH)
        assert seen.message == "the server requires a client certificate (tls.cert) in processing"
        settings["tls"] = {"ca": sides.ca_file, "cert": sides.both}
        assert (await runs.observe(Http.model_validate(settings))).verdict is Verdict.PASS


async def test_a_certificate_that_cannot_be_read(runs: Observer, sides: Both) -> None:
    """W14: a file that isn't there, or holds no key, is named, and says nothing of the target."""
    seen = await observed(runs, sides, sides.wanting_1_3, cert="/nowhere/client.pem")
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.INTERNAL)
    assert "cert /nowhere/client.pem: No such file or directory" in seen.message
    seen = await observed(runs, sides, sides.wanting_1_3, cert=sides.cert)
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.INTERNAL)


def test_relative_files_start_at_the_configuration() -> None:
    """cert and key are found from the folder of checks.yaml, as ca is; an empty one is none."""
    tls = Tls.model_validate({"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}, context={"folder": "/etc/outrider"})
    assert (tls.ca, tls.cert, tls.key) == tuple(Path("/etc/outrider", name) for name in ("ca.pem", "client.pem", "client.key"))
    assert Tls.model_validate({"cert": "", "key": ""}).cert is None


async def test_the_name_that_is_asked_for(runs: Observer, sides: Both) -> None:
    """The server receives the host's name, or tls.server_name instead; a name that it doesn't know is reported as such."""
    names: list[str | None] = []

    def known(_tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> int | None:
        names.append(name)
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME if name == "stranger.test" else None

    context = sides.plain
    context.sni_callback = known
    assert (await observed(runs, sides, context)).verdict is Verdict.PASS
    assert (await observed(runs, sides, context, server_name="other.test")).verdict is Verdict.PASS
    seen = await observed(runs, sides, context, server_name="stranger.test")
    assert (seen.reason, seen.message) == (Reason.TLS, "the server has no certificate for this name (SNI)")
    assert names == ["localhost", "other.test", "stranger.test"]


async def test_an_older_version_shows_its_certificate(runs: Observer, sides: Both) -> None:
    """Where only the version is wrong, the message has both versions, and the certificate is known all the same."""
    seen = await observed(runs, sides, sides.wanting_1_2, minimum="1.3", cert=sides.both)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TLS)
    assert seen.message == "the server speaks TLSv1.2, expected at least TLSv1.3"
    assert seen.facts["cert_expiry"] > seen.at
    assert seen.facts["tls_version"] == "TLSv1.2"


async def test_a_server_of_the_last_century(runs: Observer, sides: Both) -> None:
    """A server that speaks nothing newer than TLS 1.1 fails as tls, in words that say so."""
    seen = await observed(runs, sides, sides.ancient)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TLS)
    assert seen.message == "the server accepts none of the TLS versions that the check allows"
