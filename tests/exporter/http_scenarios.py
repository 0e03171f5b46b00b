"""HTTP: statuses, lengths, encodings, redirects, bodies, headers, TLS, proxies and addresses."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import brotli  # type: ignore[import-untyped] # it has no type hints

from tests.exporter.scenario import FAIL, PASS, RELEASE, Scenario, Serve
from tests.exporter.serving import beside, closing, headers, refusing, response, silent, site

HELLO = b"hello world" * 10
PLAIN = site(response(b"well"))
SECURE = "https://127.0.0.1:<port>/"
FOUND = "302 Found"
FOLLOWED = "ours counts the redirects that were followed, theirs also one that is the response"
DIALLED = "ours is the family that was connected to, theirs the one that was chosen to try"
LOWER = f"release {RELEASE} knows a scheme only in lower case"
ELEVEN = "ours counts the redirects that were followed, theirs also the one that was too many"
DECODED = "ours undoes every encoding that it knows, as browsers do; theirs only the one that its module names"
NOT_UNDONE = "ours undoes what was sent, as browsers do, also where something else was asked for"
HTTP3 = "HTTP/3 is not spoken: no library that we trust speaks QUIC, and a check of HTTP/1.1 or 2 sees the same service"
ENVIRONMENT = "a proxy comes from the check alone: else a verdict would depend on the shell that started the runner"
NO_CHAIN = {"probe_ssl_last_chain_expiry_timestamp_seconds": "without verification there is no verified chain: ours has no date of it"}
WITHOUT_CEL = f"release {RELEASE} has no CEL"


def http(
    name: str,
    serve: Serve | None,
    passes: bool,  # noqa: FBT001 - as in every row
    module: Mapping[str, Any] | None = None,
    expect: Mapping[str, Any] | None = None,
    **more: Any,
) -> Scenario:
    """A row of a GET; `check` and `module` are added to what every row has."""
    check = {"kind": "http", "url": more.get("target", "http://127.0.0.1:<port>/"), **more.pop("check", {})}
    if more.get("targets"):
        del check["url"]
    if expect:
        check["expect"] = expect
    settings = {"preferred_ip_protocol": "ip4", "follow_redirects": False, **(module or {})}
    return Scenario(f"http: {name}", passes, serve, {"prober": "http", "http": settings}, check=check, **more)


def statuses() -> Iterator[Scenario]:
    """The status alone, and against a list."""
    rows: list[tuple[int, list[int], bool]] = [
        *((200, [], True), (201, [], True), (299, [], True), (300, [], False), (404, [], False), (404, [200, 404], True)),
        *((200, [200, 404], True), (201, [200, 404], False), (404, [404], True), (200, [404], False)),
    ]
    for status, wanted, passes in rows:
        module = {"valid_status_codes": wanted} if wanted else {}
        serve = site(response(b"", status=f"{status} Word"))
        yield http(f"status {status}, expected {wanted or '2xx'}", serve, passes, module, {"status": wanted} if wanted else {})
    for versions, passes in (([], True), (["HTTP/1.1"], True), (["HTTP/1.1", "HTTP/2.0"], True), (["HTTP/2.0"], False)):
        version = {} if len(versions) != 1 else {"http_version": float(versions[0].removeprefix("HTTP/"))}
        yield http(f"versions {versions}", PLAIN, passes, {"valid_http_versions": versions}, version)
    for versions in (["HTTP/1.1", "HTTP/2.0", "HTTP/3.0"], ["HTTP/3.0"]):
        yield Scenario(f"http: versions {versions}", passes=FAIL, cannot=HTTP3)


def raw_deflate(data: bytes) -> bytes:
    """DEFLATE without zlib's frame, as Go writes it and browsers take it."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {"gzip": gzip.compress, "br": brotli.compress, "deflate": raw_deflate}


def encoded(encoding: str, body: bytes = HELLO) -> Serve:
    """A body in an encoding, which is named."""
    return site(response(PACKED.get(encoding, bytes)(body), f"Content-Encoding: {encoding}"))


def lengths() -> Iterator[Scenario]:
    """The lengths of bodies, encoded or not, asked for or not, and too long."""
    yield http("length of identity", encoded("identity"), passes=PASS)
    yield http("length", site(response(HELLO)), passes=PASS)
    yield http("length in an unknown encoding", encoded("xxx"), passes=PASS)
    yield http("length of a failure", site(response(b"not found", status="404 Not Found")), passes=FAIL)
    for encoding in PACKED:
        why = {"probe_http_uncompressed_body_length": DECODED}
        yield http(f"length of unasked {encoding}", encoded(encoding), passes=PASS, metrics=why)
        asked: dict[str, Any] = {"check": {"compression": encoding}}
        yield http(f"asked {encoding}", encoded(encoding), PASS, {"compression": encoding}, **asked)
    yield http("asked identity", encoded("identity"), PASS, {"compression": "identity"})
    why = {"probe_http_uncompressed_body_length": NOT_UNDONE}
    mismatch: dict[str, Any] = {"check": {"compression": "deflate"}, "differs": NOT_UNDONE, "metrics": why}
    yield http("asked deflate, sent gzip", encoded("gzip"), FAIL, {"compression": "deflate"}, **mismatch)
    for accepted in ("gzip", "br, gzip", "*"):
        accept = {"Accept-Encoding": accepted}
        asked = {"check": {"headers": accept}}
        yield http(f"accepted {accepted}", encoded("gzip"), PASS, {"compression": "gzip", "headers": accept}, **asked)
    why = {"probe_http_uncompressed_body_length": DECODED}
    yield http("gzip that nobody asked for", encoded("gzip"), passes=PASS, metrics=why)
    capped: dict[str, Any] = {"check": {"body_cap": "128B"}}
    yield http("a body below the limit", site(response(b"A" * 127)), PASS, {"body_size_limit": "128B"}, **capped)
    yield http("a body above the limit", site(response(b"A" * 129)), FAIL, {"body_size_limit": "128B"}, **capped)
    for size, passes in ((127, True), (129, False)):
        asked = {"check": {"body_cap": "128B", "compression": "gzip"}}
        module = {"body_size_limit": "128B", "compression": "gzip"}
        yield http(f"a compressed body of {size}", encoded("gzip", b"A" * size), passes, module, **asked)


def _hop(_method: str, path: str, _request: str) -> bytes:
    number = int(path.removeprefix("/redirect-")) + 1 if path.startswith("/redirect-") else 1
    return response(b"", f"Location: /redirect-{number}", status=FOUND)


def _once(_method: str, path: str, _request: str) -> bytes:
    return response(b"", "Location: /there", status=FOUND) if path == "/" else response()


def _with_cookie(_method: str, path: str, request: str) -> bytes:
    if path == "/":
        return response(b"", "Location: /there", "Set-Cookie: some=cookie; Max-Age=1000", status=FOUND)
    return response(status="200 OK" if "some=cookie" in request else "400 Bad Request")


def redirects() -> Iterator[Scenario]:
    """Redirects that are followed, or not, or without end."""
    follow = {"follow_redirects": True}
    yield http("a redirect that is followed", site(_once), PASS, follow, check={"redirects": 10})
    alone: dict[str, Any] = {
        "module": {"valid_status_codes": [302]},
        "expect": {"status": 302},
        "metrics": {"probe_http_redirects": FOLLOWED},
    }
    yield http("a redirect that is the response", site(_once), PASS, **alone)
    eleven = {"probe_http_redirects": ELEVEN}
    yield http("redirects without end", site(_hop), FAIL, follow, check={"redirects": 10}, metrics=eleven)
    yield http("a cookie before a redirect", site(_with_cookie), PASS, follow, check={"redirects": 10})
    secure = site(response(b"well"), tls="good")
    to_tls = beside(secure, lambda port: site(response(b"", f"Location: https://127.0.0.1:{port}/", status=FOUND)))
    trusted = {**follow, "tls_config": {"insecure_skip_verify": True}}
    both = {"here": {"url": "http://127.0.0.1:<port>"}, "there": {"url": "https://127.0.0.1:<other>"}}
    check = {"target": "here", "path": "/", "redirects": 10, "tls": {"verify": False}}
    yield http("a redirect to a host with TLS", to_tls, PASS, trusted, targets=both, check=check, metrics=NO_CHAIN)


def _posted(method: str, _path: str, request: str) -> bytes:
    return response(status="200 OK" if method == "POST" and request.endswith(("\r\n\r\n", "Test Body")) else "400 Bad")


def _if(*wanted: str) -> Serve:
    def page(_method: str, _path: str, request: str) -> bytes:
        return response(status="200 OK" if all(each.lower() in request.lower() for each in wanted) else "400 Bad Request")

    return site(page)


def requests() -> Iterator[Scenario]:
    """What is sent: methods, bodies, credentials, headers."""
    post: dict[str, Any] = {
        "targets": {"here": {"url": "http://127.0.0.1:<port>", "allow": ["POST /"]}},
        "check": {"target": "here", "path": "/", "method": "POST"},
    }
    yield http("POST", site(_posted), PASS, {"method": "POST"}, **post)
    for how in ("body", "body from a file"):
        with_body = {**post, "check": {**post["check"], "body": "Test Body"}}
        yield http(f"POST with a {how}", site(_posted), PASS, {"method": "POST", "body": "Test Body"}, **with_body)
    basic = {"basic": {"user": "username", "password": "password"}}
    auth = {"basic_auth": {"username": "username", "password": "password"}}
    yield http("basic authentication", _if("Authorization: Basic dXNlcm5hbWU6cGFzc3dvcmQ="), PASS, auth, check=basic)
    yield http("a bearer token", _if("Bearer mysecret"), PASS, {"bearer_token": "mysecret"}, check={"bearer": "mysecret"})
    sent = {"Host": "my-secret-vhost.test", "User-Agent": "unsuspicious-user", "Accept-Language": "en-US"}
    written = [f"{name}: {value}" for name, value in sent.items()]
    yield http("headers of one's own", _if(*written), PASS, {"headers": sent}, check={"headers": sent})


def bodies() -> Iterator[Scenario]:
    """Regular expressions over a body, and conditions over JSON."""
    rows: list[tuple[str, list[str], bool]] = [
        ("Bad news: could not connect to database server", ["could not connect to database"], False),
        ("Download the latest version here", ["could not connect to database"], True),
        ("internal error", ["could not connect to database", "internal error"], False),
        ("hello world", ["could not connect to database", "internal error"], True),
    ]
    for body, patterns, passes in rows:
        module = {"fail_if_body_matches_regexp": patterns}
        yield http(f"{body!r} must not match {patterns}", site(response(body.encode())), passes, module, {"not_regex": patterns})
    rows = [
        ("Bad news: could not connect to database server", ["Download the latest version here"], False),
        ("Download the latest version here", ["Download the latest version here"], True),
        ("Download the latest version here", ["Download the latest version here", "Copyright 2015"], False),
        ("Download the latest version here. Copyright 2015 Test Inc.", ["Download the latest version here", "Copyright 2015"], True),
    ]
    for body, patterns, passes in rows:
        module = {"fail_if_body_not_matches_regexp": patterns}
        yield http(f"{body!r} must match {patterns}", site(response(body.encode())), passes, module, {"regex": patterns})
    baz, no_foo = '{"foo": {"bar": "baz"}}', "{}"
    cowboy = '{"foo": {"bar": "\N{FACE WITH COWBOY HAT}"}}'
    must_not: list[tuple[str, str, Any, bool]] = [
        *((baz, "$.foo.bar", "baz", False), (baz, "$.foo.bar", "qux", True), (no_foo, "$.foo.bar", "qux", False)),
        *(("hello world", "$.foo.bar", "baz", False), (no_foo, "$.foo.bar", "baz", False), ('"foo"', "$", "foo", False)),
        *(('["foo","bar","baz"]', "$[2]", "baz", False), ("true", "$", True, False), ("", "$.foo.bar", "baz", False)),
        *(("\N{FACE WITH COWBOY HAT}" * 3, "$.foo.bar", "baz", False), (cowboy, "$.foo.bar", "\N{CRYING CAT FACE}", True)),
    ]
    for number, (body, path, value, passes) in enumerate(must_not, 1):
        expect = {"json": {path: {"not": value}}}
        yield http(f"CEL {number} that must not hold", site(response(body.encode())), passes, None, expect, unasked=WITHOUT_CEL)
    must: list[tuple[str, str, Any, bool]] = [
        *((baz, "$.foo.bar", "baz", True), (baz, "$.foo.bar", "qux", False), (no_foo, "$.foo.bar", "qux", False)),
        *(("hello world", "$.foo.bar", "baz", False), (no_foo, "$.foo", {"exists": False}, True), ('"foo"', "$", "foo", True)),
        *(('["foo","bar","baz"]', "$[2]", "baz", True), ("true", "$", True, True), ("", "$.foo.bar", "baz", False)),
        *(("\N{FACE WITH COWBOY HAT}" * 3, "$.foo.bar", "baz", False), (cowboy, "$.foo.bar", "\N{FACE WITH COWBOY HAT}", True)),
    ]
    for number, (body, path, value, passes) in enumerate(must, 1):
        expect = {"json": {path: value}}
        yield http(f"CEL {number} that must hold", site(response(body.encode())), passes, None, expect, unasked=WITHOUT_CEL)
    for word in ("must not hold", "must hold"):
        why = "an expression that is neither true nor false is a mistake of the configuration: a condition of ours is always one of them"
        yield Scenario(f"http: CEL without a truth value that {word}", passes=FAIL, cannot=why)


OTHER_COOKIE = "zz=4; expires=Mon, 01-Jan-1990 00:00:00 GMT; Domain=www.example.com; Path=/"
OUR_COOKIE = "gid=1; Expires=Tue, 19-Mar-2019 20:08:29 GMT; Domain=.example.com; Path=/"
DOMAIN = r".*Domain=\.example\.com.*"


def header_rules() -> Iterator[Scenario]:
    """Regular expressions over headers that may be absent or sent several times."""
    script, bytes_ = "text/javascript", "application/octet-stream"
    must_not: list[tuple[str, str, bool, Sequence[str], bool]] = [
        *(("Content-Type", script, False, [script], False), ("Content-Type", script, False, [bytes_], True)),
        *(("content-type", script, False, [bytes_], True), ("Content-Type", ".*", False, [""], False)),
        *(("Content-Type", ".*", False, [], False), ("Content-Type", ".*", True, [""], False), ("Content-Type", ".*", True, [], True)),
        *(("Set-Cookie", DOMAIN, False, [OUR_COOKIE], False), ("Set-Cookie", DOMAIN, False, [OTHER_COOKIE, OUR_COOKIE], False)),
    ]
    must: list[tuple[str, str, bool, Sequence[str], bool]] = [
        *(("Content-Type", script, False, [script], True), ("content-type", script, False, [script], True)),
        *(("Content-Type", script, False, [bytes_], False), ("Content-Type", ".*", False, [""], True)),
        *(("Content-Type", ".*", False, [], False), ("Content-Type", ".*", True, [], True)),
        *(("Set-Cookie", DOMAIN, False, [OTHER_COOKIE], False), ("Set-Cookie", DOMAIN, False, [OTHER_COOKIE, OUR_COOKIE], True)),
    ]
    for ours, theirs, rules in (("not_matches", "matches", must_not), ("matches", "not_matches", must)):
        for number, (name, pattern, allow, values, passes) in enumerate(rules, 1):
            module = {f"fail_if_header_{theirs}": [{"header": name, "regexp": pattern, "allow_missing": allow}]}
            expect = {"headers": {name: {ours: pattern, **({"allow_missing": True} if allow else {})}}}
            yield http(f"header {number}: {ours} {pattern}", headers(name, values), passes, module, expect)


def encryption() -> Iterator[Scenario]:
    """TLS that is required, trusted, not trusted, or not there."""
    only, secure = {"https_only": True}, site(response(b"well"), tls="good")
    own = site(response(b"well"), tls="self_signed")
    skip: dict[str, Any] = {"target": SECURE, "check": {"tls": {"verify": False}}}
    unverified = {"tls_config": {"insecure_skip_verify": True}}
    yield http("TLS is required, and there is none", PLAIN, FAIL, {"fail_if_not_ssl": True}, only)
    yield http("TLS is required, and there is one", secure, PASS, {"fail_if_not_ssl": True, **unverified}, only, **skip, metrics=NO_CHAIN)
    yield http("TLS is required, and the connection is closed", closing, FAIL, {"fail_if_not_ssl": True}, only)
    yield http("TLS is not required, and there is none", PLAIN, passes=PASS)
    yield http("a self-signed certificate", own, passes=FAIL, target=SECURE)
    yield http("a self-signed certificate that is not verified", own, PASS, unverified, **skip, metrics=NO_CHAIN)
    yield http("TLS settings without TLS", PLAIN, PASS, {"tls_config": {"insecure_skip_verify": False}}, check={"tls": {}})
    by_name: dict[str, Any] = {"target": "https://localhost:<port>/", "check": {"tls": {"ca": "<ca>"}, "ip": 4}}
    yield http("the host's name in a certificate", secure, PASS, {"tls_config": {"ca_file": "<ca>"}}, **by_name)
    yield http("the phases of a request over TLS", secure, PASS, unverified, **skip, metrics=NO_CHAIN)


def addresses() -> Iterator[Scenario]:
    """Proxies, and how an address is written."""
    nobody = {"check": {"proxy": "http://127.0.0.1:<nobody>"}}
    for skips in (False, True):
        module = {"skip_resolve_phase_with_proxy": skips}
        yield http(f"no proxy, skip {skips}", PLAIN, PASS, module)
        proxied = {**module, "proxy_url": "http://127.0.0.1:<nobody>"}
        chosen = {} if skips else {"probe_ip_protocol": DIALLED}
        yield http(f"a proxy where nobody listens, skip {skips}", refusing, FAIL, proxied, **nobody, metrics=chosen)
        yield Scenario(f"http: a proxy of the environment, skip {skips}", passes=FAIL, cannot=ENVIRONMENT)
    yield http("scheme http", PLAIN, passes=PASS)
    secure, skip = site(response(b"well"), tls="good"), {"tls_config": {"insecure_skip_verify": True}}
    for scheme, unasked in (("https", ""), ("HtTpS", LOWER)):
        at: dict[str, Any] = {"target": f"{scheme}://127.0.0.1:<port>/", "unasked": unasked}
        yield http(f"scheme {scheme}", secure, PASS, skip, check={"tls": {"verify": False}}, metrics=NO_CHAIN, **at)
    yield http("scheme HTTP", PLAIN, passes=PASS, target="HTTP://127.0.0.1:<port>/", unasked=LOWER)
    words = "must begin with http:// or https://"
    guess = "ours doesn't guess: the file is refused with what to write"
    yield http("no scheme", PLAIN, PASS, target="127.0.0.1:<port>", refused=words, differs=guess)
    yield http("an unknown scheme", PLAIN, FAIL, target="invalid://127.0.0.1:<port>", refused=words)
    for versions in ("1.1, 2 and 3", "1.1 and 2", "3", "1.1", "2", "any"):
        yield Scenario(f"http: QUIC, versions {versions}", passes=versions in ("3", "any"), cannot=HTTP3)
    yield Scenario("http: QUIC", passes=PASS, cannot=HTTP3)
    yield Scenario("http: QUIC, scheme HtTp", passes=PASS, cannot=HTTP3)
    yield http("a server that is silent until the timeout", silent, passes=FAIL, timeout="1s")


SCENARIOS = (
    *statuses(),
    *lengths(),
    *redirects(),
    *requests(),
    *bodies(),
    *header_rules(),
    *encryption(),
    *addresses(),
)
