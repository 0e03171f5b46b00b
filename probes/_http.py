"""What the kinds over HTTP share: where they ask (Endpoint) and how (ask): redirects, the body's cap, evidence."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from itertools import count
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx
from pydantic import Field, SecretStr, model_validator

from probes._core import Context, Failed, Family, Probe, Reason, fact_family, phase_family
from probes._exchange import Answer, Request
from probes._http1 import Exchange, Transport
from probes._target import TargetRef, origin
from probes._tls import Tls, tls_families

BODY_CAP = 1024 * 1024  # bytes
EVIDENCE_BODY = 2048  # bytes of a body that a failure keeps
OnData = Callable[[bytes, float], None]


class Endpoint(Probe):
    """Where a kind over HTTP asks: a target and a path, or a `url` of its own, to which only its kind's request goes."""

    target: TargetRef | None = Field(default=None, description="A name under targets:; its address, headers, rules and limit.")
    url: SecretStr | None = Field(default=None, description="An address of this check's own, instead of a target.")
    path: str = Field(default="", description="Below the target's address, with the query.")
    headers: dict[str, SecretStr] = Field(default={}, description="Sent beside the target's headers.")
    tls: Tls = Field(default=Tls(), description="Authorities, name and versions for https.")

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.target is None) == (self.url is None):
            raise ValueError("give either target or url")
        if self.url is not None and self.path:
            raise ValueError("path goes with target; write the whole address into url")
        split = urlsplit(self._base())
        if split.scheme not in ("http", "https") or not split.hostname:
            raise ValueError("the address must begin with http:// or https:// and a host")
        if self.path and not self.path.startswith(("/", "?")):
            raise ValueError("path begins with /")
        return self

    def _base(self) -> str:
        if self.target is not None:
            return self.target.url
        return self.url.get_secret_value() if self.url else ""

    def location(self, path: str | None = None) -> str:
        """The absolute address of a path below the target (default: the check's own path)."""
        below = self.path if path is None else path
        return self._base().rstrip("/") + below if below else self._base()

    def base_headers(self) -> dict[str, str]:
        """The target's headers and the check's own, secrets revealed."""
        both = {**(self.target.headers if self.target else {}), **self.headers}
        return {name: value.get_secret_value() for name, value in both.items()}

    def address(self) -> str:
        """The address without user, password and query, where secrets like to hide."""
        split = urlsplit(self.location())
        host = f"[{split.hostname}]" if ":" in (split.hostname or "") else split.hostname or ""
        return f"{split.scheme}://{host}{f':{split.port}' if split.port else ''}{split.path}"


def http_families() -> tuple[Family, ...]:
    """The blackbox_exporter's families for HTTP and TLS, filled by every run of `ask`."""
    return (
        phase_family(
            "probe_http_duration_seconds",
            "Seconds in each phase of the HTTP request, summed over all of the run's requests",
            *("resolve", "connect", "tls", "processing", "transfer"),
        ),
        fact_family("probe_http_status_code", "Status code of the last answer", "status_code"),
        fact_family("probe_http_version", "Version of HTTP that the last answer spoke", "http_version"),
        fact_family("probe_http_redirects", "Redirects that were followed", "redirects"),
        fact_family("probe_http_ssl", "1 where the last answer came over TLS", "ssl"),
        fact_family("probe_http_content_length", "Length that the last answer declared, in bytes", "content_length"),
        fact_family("probe_http_uncompressed_body_length", "Length of the last answer's body after decoding, in bytes", "body_bytes"),
        *network_families(),
        *tls_families(),
    )


def network_families() -> tuple[Family, ...]:
    """What every kind that dials knows."""
    return (
        fact_family("probe_dns_lookup_time_seconds", "Seconds that resolving the name took", "dns_lookup"),
        fact_family("probe_ip_protocol", "4 or 6: the address family that was connected to", "ip_protocol"),
    )


async def ask(
    ctx: Context,
    request: Request,
    *,
    tls: Tls | None = None,
    cap: int = BODY_CAP,
    redirects: int = 0,
    on_data: OnData | None = None,
) -> Answer:
    """Sends one request and returns the answer whole; `on_data` gets each piece of the body with the moment it came.

    Follows at most so many redirects; with none left the redirect itself is the answer, unless some were asked for.
    Raises Failed(SIZE) above `cap` bytes, Failed(TRUNCATED) where the connection ends before the answer does,
    Failed(PROTOCOL) for what is no HTTP, Failed(REDIRECT), and whatever the wire raises.
    """
    started = ctx.clock.monotonic()
    carried = {"ctx": ctx, "tls": tls or Tls()}
    async with _client() as client:
        headers = {**_DEFAULT_HEADERS, **ctx.sender.headers(), **request.headers}
        sent = client.build_request(request.method, request.url, headers=headers, content=request.body, extensions=carried)
        for hop in count():
            ctx.facts["redirects"] = hop
            response, body = await _exchange(ctx, client, sent, cap, on_data)
            if not redirects or response.next_request is None:
                return _answer(response, body, started)
            if hop == redirects:
                raise Failed(Reason.REDIRECT, f"more than {redirects} redirects; the last leads to {_where(response)}")
            sent = _next(ctx, response.next_request, sent, carried)
    raise AssertionError  # count() never ends


async def _exchange(
    ctx: Context, client: httpx.AsyncClient, request: httpx.Request, cap: int, on_data: OnData | None
) -> tuple[httpx.Response, bytes]:
    _note_request(ctx, request)
    try:
        response = await client.send(request, stream=True)
    except (httpx.RemoteProtocolError, httpx.InvalidURL) as error:
        raise Failed(Reason.REDIRECT, f"the redirect leads to no address: {error}") from error
    try:
        return response, await _read_body(ctx, response, cap, on_data)
    finally:
        await response.aclose()


def _next(ctx: Context, following: httpx.Request, sent: httpx.Request, carried: dict[str, Any]) -> httpx.Request:
    """The request that a redirect asks for: what was meant for one host never goes to another."""
    following.extensions = carried
    if origin(str(following.url)) != origin(str(sent.url)):
        kept = {**_DEFAULT_HEADERS, **ctx.sender.headers(), "Host": following.headers["host"]}
        following.headers = httpx.Headers(kept)
    return following


def _answer(response: httpx.Response, body: bytes, started: float) -> Answer:
    exchange: Exchange = response.extensions["exchange"]
    return Answer(
        status=response.status_code,
        headers=tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers.raw),
        body=body,
        seconds=max(exchange.stream.last_read_at, exchange.first_byte_at) - started,
        url=str(response.url),
        http_version=exchange.version,
    )


_DEFAULT_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity"}


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=Transport(), trust_env=False, follow_redirects=False, timeout=None)  # noqa: S113 - the engine's deadline


async def _read_body(ctx: Context, response: httpx.Response, cap: int, on_data: OnData | None) -> bytes:
    exchange: Exchange = response.extensions["exchange"]
    _note_answer(ctx, response, exchange)
    decoder = Decoder(response.headers.get("content-encoding", ""), cap)
    body = bytearray()
    try:
        async for piece in exchange.body():
            plain = decoder.feed(piece)
            if on_data and plain:
                on_data(plain, exchange.stream.last_read_at)
            body += plain
            if len(body) > cap:
                raise Failed(Reason.SIZE, f"the answer exceeds {cap:,} bytes")
    finally:
        ctx.facts["body_bytes"] = len(body)
        ctx.evidence["body"] = bytes(body[:EVIDENCE_BODY]).decode("utf-8", "replace")
    return bytes(body)


class Decoder:
    """Undoes gzip and deflate piece by piece, never making more than the cap of it: a bomb ends as Failed(SIZE)."""

    def __init__(self, encoding: str, cap: int) -> None:
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise Failed(Reason.PROTOCOL, f"the answer is encoded as {name!r}, which wasn't asked for")
        self._zip = zlib.decompressobj(zlib.MAX_WBITS | 32) if name not in ("", "identity") else None
        self._cap = cap
        self._made = 0

    def feed(self, piece: bytes) -> bytes:
        """The decoded bytes of a piece. Raises Failed(PROTOCOL) for what isn't encoded so."""
        if self._zip is None:
            return piece
        try:
            plain = self._zip.decompress(piece, self._cap - self._made + 1)
        except zlib.error as error:
            raise Failed(Reason.PROTOCOL, f"the answer's body is not what its Content-Encoding says: {error}") from error
        self._made += len(plain)
        return plain


def _note_request(ctx: Context, request: httpx.Request) -> None:
    ctx.evidence["request"] = {
        "method": request.method,
        "url": str(request.url.copy_with(userinfo=b"")),
        "headers": {k: "(secret)" if k in _PRIVATE else v for k, v in request.headers.items()},
    }


_PRIVATE = frozenset({"authorization", "cookie", "x-api-key", "x-goog-api-key", "apikey", "proxy-authorization"})


def _note_answer(ctx: Context, response: httpx.Response, exchange: Exchange) -> None:
    length = response.headers.get("content-length", "")
    ctx.facts |= {
        "status_code": response.status_code,
        "http_version": float(exchange.version),
        "ssl": int(exchange.stream.tls is not None),
        "content_length": int(length) if length.isdigit() else None,
    }
    ctx.evidence["answer"] = {
        "status": response.status_code,
        "headers": {k: "(secret)" if k == "set-cookie" else v for k, v in response.headers.items()},
    }


def _where(response: httpx.Response) -> str:
    return urljoin(str(response.url), str(response.headers.get("location", "")))
