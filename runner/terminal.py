"""The width of a terminal, and texts that fit it."""

from __future__ import annotations

import os
import textwrap
from typing import TextIO


def columns_of(stream: TextIO) -> int:
    """The columns of the terminal that a stream writes to now; 0 where it is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def wrapped(text: str, columns: int, indent: int) -> str:
    """Each line within so many columns, broken between words; what goes on below is indented. With 0 columns the text as it is."""
    if columns <= 2 * indent:
        return text
    below = " " * indent
    fitted = (
        textwrap.fill(line, columns, subsequent_indent=below, break_on_hyphens=False) if len(line) > columns else line
        for line in text.split("\n")
    )
    return "\n".join(fitted)
