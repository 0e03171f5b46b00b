"""WHEN to ask, WHERE its result goes. It knows no kind by name."""

from __future__ import annotations


def our_version() -> str:
    """The version of Outrider that is installed."""
    from importlib.metadata import version  # noqa: PLC0415 - takes 30 ms, and the command line's help needs none

    return version("outrider")
