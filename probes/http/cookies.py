"""The cookies of one run: kept from its answers, and sent where RFC 6265 says that they belong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit
from urllib.request import Request

import httpx

from probes.wire.addresses import literal


class _Policy(DefaultCookiePolicy):
    """RFC 6265 where the library's default is older: a cookie without a domain is its host's alone, and an address has no domain."""

    def set_ok_domain(self, cookie: Cookie, request: Request) -> bool:
        """Whether a host may set a cookie for this domain."""
        if cookie.domain_specified and literal(urlsplit(request.get_full_url()).hostname or ""):
            return False
        return bool(super().set_ok_domain(cookie, request))


class Cookies:
    """A jar that is empty when a run begins. A cookie for more than one host is taken only below a registered-looking domain."""

    def __init__(self) -> None:
        self._jar: CookieJar | None = None

    def take(self, url: str, fields: Iterable[tuple[str, str]]) -> None:
        """Keeps what an answer sets; what it may not set for that host is passed over."""
        set_here = [(name, value) for name, value in fields if name == "set-cookie"]
        if not set_here:
            return
        if self._jar is None:
            self._jar = CookieJar(_Policy(strict_domain=True, strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain))
        answer = httpx.Response(200, headers=set_here, request=httpx.Request("GET", url))
        httpx.Cookies(self._jar).extract_cookies(answer)

    def give(self, request: httpx.Request, conceal: Callable[[str], object]) -> None:
        """Adds what belongs to a request, unless it carries cookies of the user's own."""
        if self._jar is None or "cookie" in request.headers:
            return
        httpx.Cookies(self._jar).set_cookie_header(request)
        for pair in request.headers.get("cookie", "").split("; "):
            conceal(pair.partition("=")[2])
