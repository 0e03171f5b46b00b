"""The cookies of one run: stored from its responses, and sent as RFC 6265 says. A cookie that can't be read is passed over.

Cookies are bytes here: servers get back what they sent, whatever charset it is in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import httpx

from probes.http.exchange import read_field
from probes.wire.addresses import literal

_MOST = 180  # cookies of one run: as many as a browser keeps of one host
_LONGEST = 4096  # bytes of a cookie's name and value
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_REGISTRIES = frozenset(("ac", "co", "com", "edu", "gov", "int", "mil", "net", "org"))  # below a country's domain
_MONTHS = tuple(b"jan feb mar apr may jun jul aug sep oct nov dec".split())
_TIME = re.compile(rb"(\d{1,2}):(\d{1,2}):(\d{1,2})(?!\d)")
_DATE_TOKENS = re.compile(rb"[0-9A-Za-z:\x80-\xff]+")
_MAX_AGE = re.compile(rb"-?\d{1,12}")


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie, and where it is sent. `until` is in seconds since the epoch; None: it lasts as long as the run."""

    name: bytes
    value: bytes
    domain: str  # in lower case
    for_subdomains: bool
    path: str
    secure: bool
    until: float | None

    def goes_to(self, scheme: str, host: str, path: str) -> bool:
        """RFC 6265, 5.4."""
        here = host == self.domain or (self.for_subdomains and host.endswith(f".{self.domain}"))
        below = path == self.path or (path.startswith(self.path) and (self.path.endswith("/") or path[len(self.path)] == "/"))
        return here and below and (scheme == "https" or not self.secure)


class Cookies:
    """Empty when a run begins. A cookie for several hosts is accepted only below a domain that looks registered."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, bytes], Cookie] = {}  # by domain, path and name

    def store(self, url: str, set_cookies: Iterable[bytes], now: float) -> None:
        """Stores the cookies that a response sets; those that its host may not set are ignored. `now`: seconds since the epoch."""
        for line in set_cookies:
            if (cookie := read_cookie(url, line, now)) is None:
                continue
            key = cookie.domain, cookie.path, cookie.name
            if cookie.until is not None and cookie.until <= now:
                self._kept.pop(key, None)
                continue
            self._kept[key] = cookie
            if len(self._kept) > _MOST:
                del self._kept[next(iter(self._kept))]

    def values(self) -> set[str]:
        """The values of all cookies: each is a secret."""
        return {read_field(cookie.value) for cookie in self._kept.values() if cookie.value}

    def add_to(self, request: httpx.Request, conceal: Callable[[str], object]) -> None:
        """Adds the cookies for a request's address, unless it carries a Cookie header of the user's own."""
        if not self._kept or "cookie" in request.headers:
            return
        scheme, host, path = (
            request.url.scheme,
            request.url.raw_host.decode("ascii"),
            request.url.raw_path.decode("ascii").partition("?")[0],
        )
        found = [cookie for cookie in self._kept.values() if cookie.goes_to(scheme, host.lower(), path)]
        if not found:
            return
        found.sort(key=lambda cookie: -len(cookie.path))
        pairs = b"; ".join(cookie.name + b"=" + cookie.value if cookie.name else cookie.value for cookie in found)
        request.headers = httpx.Headers([*request.headers.raw, (b"Cookie", pairs)])
        for cookie in found:
            conceal(read_field(cookie.value))


def read_cookie(url: str, line: bytes, now: float) -> Cookie | None:
    """The cookie in a Set-Cookie header (RFC 6265, 5.2 and 5.3); None where it is none, or its host may not set it."""
    pair, *rest = line.split(b";")
    name, equals, value = pair.partition(b"=")
    if not equals:
        name, value = b"", pair
    name, value = name.strip(b" \t"), value.strip(b" \t")
    if _CONTROLS.search(line) or not (name or value) or len(name) + len(value) > _LONGEST:
        return None
    address = httpx.URL(url)
    host, path = address.raw_host.decode("ascii").lower(), address.raw_path.decode("ascii").partition("?")[0]
    default = path[: path.rfind("/")] if path.startswith("/") and path.rfind("/") else "/"
    cookie = Cookie(name, value, host, for_subdomains=False, path=default, secure=False, until=None)
    aged = False
    for attribute in rest:
        key, _, word = attribute.partition(b"=")
        key, word = key.strip(b" \t").lower(), word.strip(b" \t")
        if key == b"secure":
            cookie = replace(cookie, secure=True)
        elif key == b"path":
            cookie = replace(cookie, path=word.decode("latin-1") if word.startswith(b"/") else default)
        elif key == b"domain" and (domain := word.decode("latin-1").lower().removeprefix(".")):
            cookie = replace(cookie, domain=domain, for_subdomains=domain != host or not literal(host))
        elif key == b"max-age" and _MAX_AGE.fullmatch(word):
            cookie, aged = replace(cookie, until=now + int(word)), True
        elif key == b"expires" and not aged and (until := read_date(word)) is not None:
            cookie = replace(cookie, until=until)
    if cookie.domain == host:
        return cookie
    *above, registry, top = ["", *cookie.domain.split(".")]
    is_registered = bool(registry) and (bool(any(above)) or len(top) != 2 or registry not in _REGISTRIES)  # noqa: PLR2004 - a country
    return cookie if is_registered and host.endswith(f".{cookie.domain}") and not literal(host) else None


def read_date(text: bytes) -> float | None:
    """A cookie's date as seconds since the epoch, by the lenient rules of RFC 6265, 5.1.1; None where it is none."""
    time = day = month = year = None
    for token in _DATE_TOKENS.findall(text[:100]):
        number = re.match(rb"\d+", token)
        if time is None and (found := _TIME.match(token)):
            time = int(found[1]), int(found[2]), int(found[3])
        elif day is None and number and len(number[0]) <= 2:  # noqa: PLR2004 - as the RFC says
            day = int(number[0])
        elif month is None and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
        elif year is None and number and len(number[0]) in (2, 4):
            year = int(number[0])
    if time is None or day is None or month is None or year is None:
        return None
    year += 1900 if 70 <= year <= 99 else 2000 if year < 70 else 0  # noqa: PLR2004 - as above
    with suppress(ValueError):
        return datetime(year, month, day, time[0], time[1], time[2], tzinfo=UTC).timestamp()
    return None
