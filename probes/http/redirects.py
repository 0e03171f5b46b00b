"""The request that a redirect asks for (RFC 9110, section 15.4)."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urljoin

from probes.core import Failed, Reason
from probes.expect.patterns import shown
from probes.http.message import Request
from probes.target import origin

CODES = frozenset({301, 302, 303, 307, 308})


def following(request: Request, status: int, location: str | None) -> Request | None:
    """The next request, or None where the response is not a redirect that can be followed.

    Nothing that was meant for one origin goes to another: no credentials, no headers of the user's own, no body.
    Raises Failed(REDIRECT) where the location is not an address.
    """
    if status not in CODES or not location:
        return None
    try:
        url = urljoin(request.url, location)
        elsewhere = origin(url) != origin(request.url)
    except ValueError as error:
        raise Failed(Reason.REDIRECT, f"the redirect doesn't lead to an address: {shown(location, 200)}") from error
    if (status == 303 and request.method != "HEAD") or (status in (301, 302) and request.method == "POST"):  # noqa: PLR2004 - the codes say it
        headers = {name: value for name, value in request.headers.items() if not name.lower().startswith("content-")}
        request = replace(request, method="GET", body=None, headers=headers)
    if elsewhere:
        request = replace(request, headers={}, body=None)
    return replace(request, url=url)
