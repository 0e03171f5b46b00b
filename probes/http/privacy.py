"""What evidence and messages don't show of requests and responses: credentials, cookies, and what an address may carry of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "(secret)"
_PRIVATE = frozenset(
    {"authorization", "cookie", "set-cookie", "x-api-key", "x-goog-api-key", "apikey", "proxy-authorization", "authentication-info"}
)
_ADDRESSES = frozenset({"location", "content-location", "refresh"})
_USER = re.compile(r"(^|/)/[^/?#\s]*@")
_VALUE = re.compile(r"([?&#;](?:[^=&#;]*=)?+)[^&#;]+")  # of a parameter, or what stands alone


def is_private(header: str) -> bool:
    """Whether a header's value is shown nowhere."""
    return header.lower() in _PRIVATE


def hide_in_address(address: str) -> str:
    """An address without user and password, and without the values of its query and fragment; the text may be no valid address."""
    address = _USER.sub(r"\1/", address)
    at = min((found for sign in "?#" if (found := address.find(sign)) >= 0), default=len(address))
    return address[:at] + _VALUE.sub(rf"\1{HIDDEN}", address[at:])


def shown_header(name: str, value: str) -> str:
    """A header's value for evidence and messages."""
    if is_private(name):
        return HIDDEN
    return hide_in_address(value) if name.lower() in _ADDRESSES else value


def shown_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers for evidence."""
    return {name: shown_header(name, value) for name, value in headers}
