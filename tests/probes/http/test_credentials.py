"""Credentials that are made for a request: one-time passwords, assertions of service accounts, signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from probes.http.jwt import expires_at
from probes.http.oauth2 import OAuth2
from probes.journeys.totp import Totp
from probes.kinds.http import Http
from probes.kinds.journey import Journey
from probes.wire.wire import Wire
from tests.support.clock import FakeClock
from tests.support.context import make_context
from tests.support.engine import Observer
from tests.support.journeys import journey
from tests.support.web import serving

NOW = 1_790_000_000.0
SEEDS = {"sha1": b"12345678901234567890", "sha256": b"12345678901234567890123456789012", "sha512": b"1234567890" * 6 + b"1234"}
VECTORS = [  # RFC 6238, appendix B
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]


# -- one-time passwords


@pytest.mark.parametrize(("now", "sha1", "sha256", "sha512"), VECTORS)
def test_the_vectors_of_rfc_6238(now: int, sha1: str, sha256: str, sha512: str) -> None:
    """Every vector of the RFC's appendix, by all three hash functions, from the first to the last second of its period."""
    for algorithm, code in (("sha1", sha1), ("sha256", sha256), ("sha512", sha512)):
        secret = base64.b32encode(SEEDS[algorithm]).decode()
        totp = Totp.model_validate({"secret": secret, "digits": 8, "algorithm": algorithm})
        start = now // 30 * 30
        assert {totp.code(start), totp.code(float(now)), totp.code(start + 29.999)} == {code}
        assert totp.model_copy(update={"digits": 6}).code(now) == code[2:]


@given(st.binary(min_size=1, max_size=40), st.integers(0, 7))
def test_a_secret_is_read_as_apps_show_it(seed: bytes, every: int) -> None:
    """Blanks, dashes, small letters and missing padding change nothing."""
    text = base64.b32encode(seed).decode()
    bare = text.rstrip("=").lower()
    shown = " ".join(bare[i : i + every + 1] for i in range(0, len(bare), every + 1))
    assert Totp.model_validate({"secret": text}).code(NOW) == Totp.model_validate({"secret": shown}).code(NOW)


def test_what_is_no_secret() -> None:
    """A secret that isn't base32 is an error when checks.yaml is read, and is not repeated; {{totp}} needs a secret."""
    with pytest.raises(ValidationError, match="is not base32") as error:
        Totp.model_validate({"secret": "not!base32"})
    assert "not!base32" not in str(error.value)
    with pytest.raises(ValidationError, match=r"step 1 \(a\): {{totp}} needs totp: with the secret"):
        journey("http://127.0.0.1:9", {"name": "a", "post": "/login", "form": {"code": "{{totp}}"}})


async def test_a_second_factor(wire: Wire) -> None:
    """`{{totp}}` is the code of the moment in which the step is sent, and a secret."""
    step = {"name": "in", "post": "/login", "form": {"password": "p", "code": "{{totp}}"}}
    secret = base64.b32encode(SEEDS["sha1"]).decode()
    ctx = make_context(wire, clock=FakeClock(1111111111.0))
    async with serving({"POST /login": {}}) as web:
        await journey(web.url, step, totp=secret).run(ctx)

    assert web.requests[0][1] == b"password=p&code=050471"
    assert "050471" in ctx.secrets


# -- service accounts


@pytest.fixture(name="key", scope="module")
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_file(key: Any, **more: Any) -> str:
    """A key file as Google issues it."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = "prober@trips.iam.gserviceaccount.com"
    return json.dumps({"type": "service_account", "client_email": account, "private_key": pem, "private_key_id": "k1", **more})


def piece(text: str) -> Any:
    """A part of a JWT."""
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def jwt(**claims: Any) -> str:
    """A JWT that nobody signed."""
    return ".".join(base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in ({}, claims)) + ".x"


@pytest.mark.parametrize("id_token", [False, True])
async def test_a_service_account_gets_a_token(wire: Wire, key: rsa.RSAPrivateKey, *, id_token: bool) -> None:
    """The assertion is signed by RS256 for the endpoint; its token is kept to its end, an ID token's as it says itself."""
    given: list[Any] = []
    clock = FakeClock(NOW)
    token = jwt(exp=NOW + 600)

    async def grant(request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        head, body, signature = form["assertion"][0].split(".")
        signed = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        key.public_key().verify(signed, f"{head}.{body}".encode(), PKCS1v15(), SHA256())
        given.append((piece(head), piece(body)))
        return JSONResponse({"id_token": token} if id_token else {"access_token": token, "expires_in": 600, "token_type": "Bearer"})

    async with serving({"POST /token": grant, "GET /": {}}) as web:
        wanted = {"audience": "https://trips.run.app", "id_token": True} if id_token else {"scope": "https://a.test/auth/x"}
        oauth2 = {"service_account": key_file(key, token_uri=f"{web.url}/token"), **wanted}
        probe = Http.model_validate({"url": f"{web.url}/", "oauth2": oauth2})
        for ahead in (0, 560, 20):  # used until 30 s before its end
            clock.advance(ahead)
            await probe.run(make_context(wire, clock=clock))

    (head, body), _ = given
    target = {"target_audience": "https://trips.run.app"} if id_token else {"scope": "https://a.test/auth/x"}
    who = {"iss": "prober@trips.iam.gserviceaccount.com", "aud": f"{web.url}/token"}
    assert head == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert body == who | target | {"iat": int(NOW), "exp": int(NOW) + 3600}
    assert web.requests[1][0]["authorization"] == f"Bearer {token}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"service_account": "hunter2 {"}, "is no JSON"),
        ({"service_account": "[]"}, "is no key file of a service account: client_email is missing"),
        ({"service_account": '{"client_email": "a", "private_key": "hunter2", "token_uri": "https://a.test"}'}, "can't be read"),
        ({"service_account": "RSA"}, "a service account needs a scope, or an audience and id_token: true"),
        ({"service_account": "EC", "scope": "x"}, "has a private_key that is no RSA key"),
        ({"service_account": "RSA", "id_token": True}, "an ID token has an audience"),
        ({"service_account": "RSA", "scope": "x", "client_id": "y"}, "give either client_id and client_secret, or service_account"),
        ({"client_id": "y", "client_secret": "hunter2"}, "token_url is missing"),
        ({"token_url": "https://a.test", "client_id": "y", "client_secret": "z", "id_token": True}, "id_token goes with service_account"),
    ],
)
def test_credentials_that_can_not_work(key: rsa.RSAPrivateKey, settings: dict[str, Any], message: str) -> None:
    """What can't work is an error when checks.yaml is read, and repeats nothing of a key."""
    keys = {"RSA": key, "EC": ec.generate_private_key(ec.SECP256R1())}
    account = settings.get("service_account")
    made = settings | ({"service_account": key_file(keys[account], token_uri="https://a.test")} if account in keys else {})
    with pytest.raises(ValidationError) as error:
        OAuth2.model_validate(made)
    assert message in str(error.value)
    assert "hunter2" not in str(error.value)


@given(st.text(max_size=80) | st.binary(max_size=40).map(lambda data: f"a.{base64.urlsafe_b64encode(data).decode()}.c"))
def test_a_token_that_is_no_jwt_has_no_end(text: str) -> None:
    """Whatever a token endpoint returns, reading its end raises nothing."""
    assert expires_at(text) is None


# -- signatures


async def test_a_known_signature(wire: Wire) -> None:
    """GitHub's own example of a signed body."""
    sign = {"key": "It's a Secret to Everybody", "text": "{{body}}", "headers": {"X-Hub-Signature-256": "sha256={{signature}}"}}
    async with serving({"POST /hook": {}}) as web:
        target = {"name": "api", "url": web.url, "allow": ["POST /hook"]}
        made = {"target": target, "path": "/hook", "method": "POST", "body": "Hello, World!", "sign": sign}
        await Http.model_validate(made).run(make_context(wire))

    assert web.requests[0][0]["x-hub-signature-256"] == "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


@pytest.mark.parametrize(("key", "written"), [("text", "key-1234"), ("hex", b"key-1234".hex()), ("base64", "a2V5LTEyMzQ=")])
@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
async def test_what_is_signed_is_what_is_sent(wire: Wire, key: str, written: str, algorithm: str) -> None:
    """Method, path, query, host, time, a nonce and the body's hash, as the server gets them; each step of a journey is signed."""
    text = "{{method}}\n{{host}}{{path}}\n{{query}}\n{{now unix}}\n{{uuid}}\n{{body_sha256}}"
    headers = {"X-Time": "{{now unix}}", "X-Nonce": "{{uuid}}", "Authorization": "HMAC me:{{signature}}"}
    sign = {"key": written, "key_encoding": key, "algorithm": algorithm, "encoding": "base64", "text": text, "headers": headers}
    step = {"name": "a", "post": "/a b/ü", "query": {"q": "x y"}, "body": "{{now}}"}
    async with serving({"POST /{one}/{two}": {}}) as web:
        probe = journey(web.url, step, {**step, "name": "b"}, sign=sign)
        assert isinstance(probe, Journey)
        await probe.run(make_context(wire, clock=FakeClock(NOW)))

    nonces = set()
    for sent, body in web.requests:
        digest = hashlib.sha256(body).hexdigest()
        nonces.add(sent["x-nonce"])
        wanted = f"POST\n{sent['host']}/a%20b/%C3%BC\nq=x+y\n{int(NOW)}\n{sent['x-nonce']}\n{digest}"
        signature = base64.b64encode(hmac.new(b"key-1234", wanted.encode(), algorithm).digest()).decode()
        assert sent["authorization"] == f"HMAC me:{signature}"
        assert body == b"2026-09-21T14:13:20Z"
    assert len(nonces) == 2


async def test_nothing_is_signed_for_another_origin(wire: Wire) -> None:
    """A redirect to another host gets no signature: who has one could repeat the request."""
    sign = {"key": "key-1234", "headers": {"X-Signature": "{{signature}}"}}
    async with serving({"GET /there": {}}) as other, serving({"GET /": RedirectResponse(f"{other.url}/there")}) as web:
        await Http.model_validate({"url": f"{web.url}/", "redirects": 1, "sign": sign}).run(make_context(wire))

    assert "x-signature" in web.requests[0][0]
    assert "x-signature" not in other.requests[0][0]


@pytest.mark.parametrize(
    ("sign", "message"),
    [
        ({"key": "k", "headers": {"X": "1"}}, "headers: none of them has {{signature}}"),
        ({"key": "k", "text": "{{verb}}", "headers": {"X": "{{signature}}"}}, "text: nothing fills in {{verb}}"),
        ({"key": "k", "headers": {"X": "{{signature}} {{body}}"}}, "headers: nothing fills in {{body}}"),
        ({"key": "zz", "key_encoding": "hex", "headers": {"X": "{{signature}}"}}, "key: is not hex"),
        ({"key": "z!", "key_encoding": "base64", "headers": {"X": "{{signature}}"}}, "key: is not base64"),
    ],
)
def test_a_signature_that_can_not_work(sign: dict[str, Any], message: str) -> None:
    """What can't work is an error when checks.yaml is read."""
    with pytest.raises(ValidationError) as error:
        Http.model_validate({"url": "http://127.0.0.1:9/", "sign": sign})
    assert message in str(error.value)


async def test_the_key_is_in_no_output(runs: Observer) -> None:
    """The key signs, and is never sent or told."""
    sign = {"key": "key-1234-hidden", "headers": {"X-Signature": "{{signature}}"}}
    async with serving({"GET /": JSONResponse({}, 500)}) as web:
        seen = await runs.observe(Http.model_validate({"url": f"{web.url}/", "sign": sign}))

    assert "key-1234-hidden" not in repr(seen) + str(web.requests)
