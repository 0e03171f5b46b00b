"""What ends a command with exit 2, from wherever in a room it is found out."""

from __future__ import annotations

from typing import NoReturn


class Unusable(Exception):  # noqa: N818 - a decision, not an accident
    """What was asked for can't be done: usage or configuration. The command line prints the message and exits with 2."""


def unusable(message: str) -> NoReturn:
    """Ends the command: usage or configuration, exit 2."""
    raise Unusable(message)
