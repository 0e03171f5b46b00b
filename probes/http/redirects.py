"""The request that a redirect asks for (RFC 9110, section 15.4)."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urljoin

from probes.core import Failed, Reason
from probes.expect.patterns import shown
from probes.http.message import Request
from probes.http.privacy import hide_in_address
from probes.target import ascii_url, origin

_AUTHORITY = re.compile(rb"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
CODES = frozenset({301, 302, 303, 307, 308})


def following(request: Request, status: int, location: bytes | None) -> Request | None:
    """The next request, or None where the response is not a redirect that can be followed.

    A Location is bytes: those beyond ASCII go into the address as they are, percent-encoded, whatever charset they are in. In the
    host they are UTF-8.

    Nothing that was meant for one origin goes to another: no credentials, no headers of the user's own, no body.
    Raises Failed(REDIRECT) where the location is not an address.
    """
    if status not in CODES or not location:
        return None
    authority = _AUTHORITY.match(location)
    head = authority[0] if authority else b""
    written = _BEYOND_ASCII.sub(lambda found: b"%%%02X" % found[0][0], location[len(head) :]).decode("ascii")
    try:
        written = ascii_url(head.decode()) + written
        url = urljoin(request.url, written)
        elsewhere = origin(url) != origin(request.url)
    except ValueError as error:
        raise Failed(
            Reason.REDIRECT, f"the redirect doesn't lead to an address: {shown(hide_in_address(location.decode(errors='replace')), 200)}"
        ) from error
    if (status == 303 and request.method != "HEAD") or (status in (301, 302) and request.method == "POST"):  # noqa: PLR2004 - the codes say it
        headers = {name: value for name, value in request.headers.items() if not name.lower().startswith("content-")}
        request = replace(request, method="GET", body=None, headers=headers)
    if elsewhere:
        request = replace(request, headers={}, body=None)
    return replace(request, url=url)
