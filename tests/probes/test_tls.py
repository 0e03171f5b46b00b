from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from judge.observation import Observation
from probes.core import Failed, Reason, Verdict
from probes.kinds.grpc import Grpc
from probes.kinds.http import Http
from probes.kinds.postgres import Postgres
from probes.kinds.redis import Redis
from probes.kinds.tls import Handshake, in_words
from probes.kinds.websocket import WebSocket
from probes.probe import Context
from probes.wire.handshake import suite
from probes.wire.tls import Tls
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.asking import answer, ask
from tests.support.ca import NAMES, Authority
from tests.support.context import make_context
from tests.support.engine import Observer
from tests.support.leaks import no_leaks

DAY = 86400.0


def probe(server: servers.Server, authority: Authority, **more: Any) -> Handshake:
    """A check of a server by the tests' authority."""
    tls = {"ca": authority.ca_file} | more.pop("tls", {})
    return Handshake.model_validate({"host": "localhost", "port": server.port, "tls": tls} | more)


def http(server: servers.Server, authority: Authority, *, host: str = "localhost", **more: Any) -> Http:
    """The same over HTTP."""
    return Http.model_validate({"url": f"https://{host}:{server.port}/", "tls": {"ca": authority.ca_file}} | more)


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
    """W16: the blackbox_exporter's TLS families are filled, each with what its name says, and labels as that writes them."""
    seen = await observed(runs, authority, "good")
    filled = {family.name: list(family.read(seen.phases, seen.facts)) for family in Handshake.families}
    (((), expiry),) = filled["probe_ssl_earliest_cert_expiry"]
    assert expiry == pytest.approx(seen.at + 90 * DAY, abs=600)
    assert filled["probe_ssl_last_chain_expiry_timestamp_seconds"] == [((), expiry)]
    (((fingerprint, subject, issuer, names, serial), one),) = filled["probe_ssl_last_chain_info"]
    assert (len(fingerprint), one, bool(subject), bool(issuer), bool(serial)) == (64, 1.0, True, True, True)
    assert names.split(",") == [name for name in NAMES if name != "127.0.0.1"]
    assert len(serial) % 2 == 0
    assert filled["probe_tls_version_info"] == [(("TLS 1.3",), 1.0)]
    assert filled["probe_tls_cipher_info"][0][0][0].startswith("TLS_")
    (((), left),) = filled["probe_tls_valid_seconds"]
    assert left == pytest.approx(90 * DAY, abs=600)
    assert {labels for labels, _ in filled["probe_tls_duration_seconds"]} == {("resolve",), ("connect",), ("tls",)}


@pytest.mark.parametrize(
    ("openssl", "standard"),
    [
        ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        ("ECDHE-RSA-AES256-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        ("DHE-RSA-AES128-SHA256", "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
        ("ECDHE-RSA-AES256-SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
        ("AES256-GCM-SHA384", "TLS_RSA_WITH_AES_256_GCM_SHA384"),
        ("AES128-SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"),
        ("DHE-DSS-CAMELLIA256-SHA", "TLS_DHE_DSS_WITH_CAMELLIA_256_CBC_SHA"),
        ("PSK-AES256-CCM8", "PSK-AES256-CCM8"),
    ],
)
def test_a_suite_by_its_standard_name(openssl: str, standard: str) -> None:
    """W16: the cipher suites that a check can speak have the names of the standards, which the exporter writes."""
    assert suite(openssl) == standard


def test_the_default_suites_have_standard_names() -> None:
    """W16: none that a check offers keeps OpenSSL's name."""
    for minimum in ("1.0", "1.2"):
        names = [suite(cipher["name"]) for cipher in Tls.model_validate({"minimum": minimum}).context().get_ciphers()]
        assert [name for name in names if not name.startswith("TLS_") and "PSK" not in name and "SRP" not in name] == []


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
        ("expired", Reason.EXPIRED, "expired 3 h "),
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


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> dict[str, Path]:
    """Files that hold no authority, by what is said of each; and a certificate whose key has a password."""
    folder = tmp_path_factory.mktemp("files")
    made = {"No such file": folder / "missing.pem", "Is a directory": folder}
    for number, content in enumerate((b"", b"ca", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\x30\x82\0")):
        path = made["no certificate in PEM" + " " * number] = folder / f"{number}.pem"
        path.write_bytes(content)
    key = ec.generate_private_key(ec.SECP256R1())
    locked = made["locked"] = folder / "locked.pem"
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    locked.write_bytes(authority.ca_file.read_bytes() + text)
    return made


ODD_FILES = ["No such file", "Is a directory", *("no certificate in PEM" + " " * number for number in range(4))]


@pytest.mark.parametrize("words", ODD_FILES)
async def test_authorities_that_cannot_be_read(runs: Observer, authority: Authority, files: dict[str, Path], words: str) -> None:
    """W14: a tls.ca that is missing, empty or something else is named, and is no failure of the target."""
    async with servers.silent(tls=authority.good) as server:
        seen = await runs.observe(probe(server, authority, tls={"ca": str(files[words])}))
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.INTERNAL)
    assert seen.message.startswith(f"can't use tls: ca {files[words]}: ")
    assert words.strip() in seen.message


@pytest.mark.parametrize("words", ODD_FILES)
def test_authorities_are_read_with_the_configuration(files: dict[str, Path], words: str) -> None:
    """W14: such a file is an error of the configuration, which a dry run doesn't look at."""
    settings = {"host": "localhost", "tls": {"ca": str(files[words])}}
    with pytest.raises(ValidationError, match=words.strip()) as caught:
        Handshake.model_validate(settings, context={"folder": "/", "files": True})
    assert caught.value.errors()[0]["loc"] == ("tls", "ca")
    Handshake.model_validate(settings, context={"folder": "/", "files": False})


@pytest.mark.parametrize("words", ODD_FILES)
@pytest.mark.parametrize("form", ["postgresql://me@h/x?sslmode=verify-full&sslrootcert={}", "rediss://h?ssl_ca_certs={}"])
def test_authorities_in_a_url_are_read_with_the_configuration(files: dict[str, Path], words: str, form: str) -> None:
    """W14: so are those that a dsn or a redis URL names; without verification nobody needs them."""
    url = form.format(files[words])
    kind, key = (Postgres, "dsn") if "sslmode" in url else (Redis, "url")
    with pytest.raises(ValidationError, match=words.strip()):
        kind.model_validate({key: url}, context={"files": True})
    kind.model_validate({key: url}, context={"files": False})
    if kind is Redis:
        kind.model_validate({key: f"{url}&ssl_cert_reqs=none"}, context={"files": True})


def test_a_certificate_is_read_with_the_configuration(files: dict[str, Path]) -> None:
    """W14: so is a client certificate; a password is not asked for on the terminal."""
    settings = {"host": "localhost", "tls": {"cert": str(files["locked"])}}
    with pytest.raises(ValidationError, match="the key has a password"):
        Handshake.model_validate(settings, context={"files": True})


async def test_the_environments_authorities_cannot_be_read(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """W14: SSL_CERT_FILE that isn't there is named, too; without verification it isn't needed."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    async with servers.silent(tls=authority.good) as server:
        with pytest.raises(Failed, match=r"SSL_CERT_FILE /nowhere/ca\.pem: No such file") as caught:
            await Handshake(host="localhost", port=server.port).run(make_context(Wire()))
        assert caught.value.reason is Reason.INTERNAL
        result = await Handshake(host="localhost", port=server.port, tls=Tls(verify=False)).run(make_context(Wire()))
    assert result.verdict is Verdict.PASS


@pytest.mark.parametrize("which", ["intermediate", "leaf"])
async def test_authorities_that_are_no_root(runs: Observer, tmp_path_factory: pytest.TempPathFactory, which: str) -> None:
    """W14: `ca` may name an intermediate or the server's own certificate alone, whatever Python's defaults are."""
    folder = await asyncio.to_thread(tmp_path_factory.mktemp, "partial")
    issuing = trustme.CA().create_child_ca()
    leaf = issuing.issue_cert("localhost")
    pem = issuing.cert_pem if which == "intermediate" else leaf.cert_chain_pems[0]
    await asyncio.to_thread(pem.write_to_path, str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    await asyncio.to_thread(leaf.configure_cert, context)
    async with servers.silent(tls=context) as server:
        seen = await runs.observe(Handshake.model_validate({"host": "localhost", "port": server.port, "tls": {"ca": folder / "ca.pem"}}))
    assert seen.verdict is Verdict.PASS, seen.message


def test_the_flags_of_verification_are_ours() -> None:
    """W14: a certificate is verified alike by each Python: the flags are set, and none is a default."""
    assert Tls().context().verify_flags == ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN


async def test_a_name_in_the_subject_alone(runs: Observer, authority: Authority) -> None:
    """W8: a certificate without names (SAN) fails, though its CN is the host: browsers refuse it, too."""
    async with servers.silent(tls=authority.nameless) as server:
        for check in (probe(server, authority), http(server, authority)):
            seen = await runs.observe(check)
            assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.HOSTNAME)
            assert seen.message == "the certificate has no name (SAN); its CN doesn't count"


async def test_a_name_with_its_last_dot(runs: Observer, authority: Authority) -> None:
    """W12: the last dot of a name belongs to DNS: neither SNI nor the certificate has it."""
    names: list[str | None] = []
    authority.offering.sni_callback = lambda _tls, name, _context: names.append(name)
    async with servers.canned(answer(b"ok"), answer(b"ok"), tls=authority.offering) as server:
        for check in (
            probe(server, authority, host="localhost."),
            probe(server, authority, tls={"server_name": "good.test."}),
            http(server, authority, host="localhost."),
            WebSocket.model_validate({"url": f"wss://localhost.:{server.port}/", "tls": {"ca": authority.ca_file}}),
            Grpc.model_validate({"host": "localhost.", "port": server.port, "tls": {"ca": authority.ca_file}}),
        ):
            seen = await runs.observe(check)
            assert seen.facts["chain_expiry"] > seen.at, seen.message
    assert names == ["localhost", "good.test", "localhost", "localhost", "localhost"]


async def test_an_expired_certificate_that_is_accepted(runs: Observer, authority: Authority) -> None:
    """W14: with verify: false the message says in words that the certificate has expired."""
    seen = await observed(runs, authority, "expired", tls={"verify": False})
    assert seen.verdict is Verdict.PASS
    assert re.match(
        r"expired 3 h(?: [0-9]+ min)? ago, on 20\d\d-\d\d-\d\d \d\d:\d\d UTC, which tls\.verify: false accepts · TLSv1\.3$", seen.message
    )


@pytest.mark.parametrize(("minimum", "verdict"), [("1.0", Verdict.PASS), (1.1, Verdict.PASS), ("1.2", Verdict.FAIL)])
async def test_an_ancient_version(runs: Observer, authority: Authority, minimum: object, verdict: Verdict) -> None:
    """W14: an old device that speaks TLS 1.1 can be watched by `minimum`, and is refused without it."""
    seen = await observed(runs, authority, "ancient", tls={"minimum": minimum})
    assert seen.verdict is verdict, seen.message
    if verdict is Verdict.PASS:
        assert seen.facts["tls_version"] == "TLSv1.1"


async def test_the_certificate_of_a_redirect_chain(authority: Authority) -> None:
    """W14: of several hosts, the certificate that expires first is the run's; version and cipher are the last one's."""
    async with servers.canned(answer(b"ok"), tls=authority.old) as last:
        redirect = answer(b"", f"Location: https://localhost:{last.port}/".encode(), status=b"302 Found")
        async with servers.canned(redirect, tls=authority.soon) as first:
            ctx = make_context(Wire())
            await ask(ctx, f"https://localhost:{first.port}/", redirects=1, tls={"ca": authority.ca_file})
    assert ctx.facts["chain_expiry"] == pytest.approx(ctx.clock.time() + 3 * DAY, abs=600)
    assert ctx.facts["tls_version"] == "TLSv1.2"
    assert ctx.evidence["certificates"][0]["not_after"] == ctx.facts["cert_expiry"]


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
