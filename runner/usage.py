"""Usage errors: any room can end a command with exit 2."""

from __future__ import annotations

from typing import NoReturn


class Unusable(Exception):  # noqa: N818 - a decision, not an accident
    """The usage or the configuration is wrong. The command line prints the message and exits with 2."""


def unusable(message: str) -> NoReturn:
    """Ends the command with this message and exit 2."""
    raise Unusable(message)
