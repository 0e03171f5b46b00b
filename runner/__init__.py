"""WHEN to ask, WHERE its result goes. It knows no kind by name."""

from __future__ import annotations

from importlib.metadata import version


def our_version() -> str:
    """The version of Outrider that is installed."""
    return version("outrider")
