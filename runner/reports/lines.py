"""Lines for a console: at a terminal they wrap below their own beginning, elsewhere a line stays a line."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

_NARROWEST = 20  # columns that a text needs beside its indentation


def write_line(console: Console, head: Text, body: Text, *, indent: int) -> None:
    """Writes a line that begins with `head`. What doesn't fit a terminal's width goes on below it, indented by so many columns."""
    if not console.is_terminal:
        console.print(head + body, soft_wrap=True, markup=False)
        return
    indent, rest = room(console, indent)
    first = console.width - head.cell_len
    if first < _NARROWEST:  # the text has no room beside its beginning, and stands below it
        head.rstrip()
        for line in head.wrap(console, console.width):
            console.print(line, soft_wrap=True, markup=False)
        head, first = Text(" " * indent), rest
    for number, line in enumerate(body.wrap(console, min(first, rest))):
        line.rstrip()
        console.print((Text(" " * indent) if number else head) + line, soft_wrap=True, markup=False)


def room(console: Console, indent: int) -> tuple[int, int]:
    """The indentation that a console has room for, and the columns that are left beside it."""
    indent = indent if console.width - indent >= _NARROWEST else max(0, min(indent, 4))
    return indent, console.width - indent
