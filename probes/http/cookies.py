"""The cookies of one run: stored from its responses, and sent as RFC 6265 says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit
from urllib.request import Request

import httpx

from probes.wire.addresses import literal


class _Policy(DefaultCookiePolicy):
    """RFC 6265 where the library's default is older: a cookie without a domain goes to its host alone; an IP address has no domain."""

    def set_ok_domain(self, cookie: Cookie, request: Request) -> bool:
        if cookie.domain_specified and literal(urlsplit(request.get_full_url()).hostname or ""):
            return False
        return bool(super().set_ok_domain(cookie, request))


class Cookies:
    """A cookie jar, empty when a run begins. A cookie for several hosts is accepted only below a domain that looks registered."""

    def __init__(self) -> None:
        self._jar: CookieJar | None = None

    def store(self, url: str, fields: Iterable[tuple[str, str]]) -> None:
        """Stores the cookies that a response sets; those that its host may not set are ignored."""
        set_here = [(name, value) for name, value in fields if name == "set-cookie"]
        if not set_here:
            return
        if self._jar is None:
            self._jar = CookieJar(_Policy(strict_domain=True, strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain))
        response = httpx.Response(200, headers=set_here, request=httpx.Request("GET", url))
        httpx.Cookies(self._jar).extract_cookies(response)

    def add_to(self, request: httpx.Request, conceal: Callable[[str], object]) -> None:
        """Adds the cookies for a request's address, unless it carries a Cookie header of the user's own."""
        if self._jar is None or "cookie" in request.headers:
            return
        httpx.Cookies(self._jar).set_cookie_header(request)
        for pair in request.headers.get("cookie", "").split("; "):
            conceal(pair.partition("=")[2])
