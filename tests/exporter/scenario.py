"""One scenario in which the blackbox exporter and a check of ours are asked the same question of the same server.

The scenarios are those of the exporter's own tests, written anew as data: what the server does, the exporter's module, our check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.support.ca import Authority

PASS, FAIL = True, False  # the exporter's verdict, in the rows
RELEASE = "0.23"  # of the exporter in Debian 12, which the tests run


class Served(Protocol):
    """A server that a scenario started."""

    @property
    def port(self) -> int: ...


Serve = Callable[[Authority], AbstractAsyncContextManager[Served]]


@dataclass(frozen=True)
class Scenario:
    """One row. In every text `<port>` is the server's port, and `<ca>` the file of the authority that signed its certificate.

    `passes`: the exporter's verdict. Ours is the same, unless `differs` says why it is the opposite. `metrics`: the metrics whose values
    differ, and why. `cannot`: why no check can say it; then there is no check. `unasked`: why the installed exporter isn't asked; then
    its verdict is the one that its own tests expect. `refused`: the words with which our check is refused when it is read, instead of a
    run that fails.
    """

    name: str
    passes: bool
    serve: Serve | None = None
    module: Mapping[str, Any] = field(default_factory=dict)
    target: str = "http://127.0.0.1:<port>/"
    check: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=dict)  # of our checks.yaml
    metrics: Mapping[str, str] = field(default_factory=dict)
    differs: str = ""
    cannot: str = ""
    unasked: str = ""
    refused: str = ""
    timeout: str = "10s"  # of both: long, where nothing is waited for


def filled(value: Any, places: Mapping[str, str | int]) -> Any:
    """The value with its places filled in; a text that is one place becomes the place's value."""
    if isinstance(value, str):
        if value in places:
            return places[value]
        for place, text in places.items():
            value = value.replace(place, str(text))
        return value
    if isinstance(value, Mapping):
        return {filled(key, places): filled(inner, places) for key, inner in value.items()}
    return [filled(inner, places) for inner in value] if isinstance(value, list | tuple) else value
