"""The templates and the style sheet, read once. Rendering escapes every text."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

_STATIC = {"page.css": "text/css; charset=utf-8"} | {f"{shape}.svg": "image/svg+xml" for shape in ("up", "down", "unknown", "pending")}
_BREAKS = re.compile(r"\w[-/]")
_TEMPLATES = ("base.html", "parts.html", "overview.html", "check.html", "missing.html")


def _whole(text: str) -> Markup:
    """A sentence in which no name is broken at its hyphens or slashes, unless it is longer than a line."""
    words = (Markup('<span class="whole">{}</span>').format(word) if _BREAKS.search(word) else escape(word) for word in text.split(" "))
    return Markup(" ").join(words)


class Pages:
    """Reads and compiles all templates in its constructor, so that a request reads no file. Rendering may run in a thread."""

    def __init__(self) -> None:
        here = files("runner.web")
        sources = {name: (here / "templates" / name).read_text("utf-8") for name in _TEMPLATES}
        environment = Environment(
            loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters["whole"] = _whole
        self._templates = {name: environment.get_template(name) for name in _TEMPLATES}
        self._static = {name: ((here / "static" / name).read_bytes(), media) for name, media in _STATIC.items()}

    def render(self, template: str, **values: Any) -> bytes:
        """The page as HTML in UTF-8; half a character that somebody sent is shown as its escape."""
        return self._templates[template].render(values).encode("utf-8", "backslashreplace")

    def static(self, name: str) -> tuple[bytes, str] | None:
        """A file that the pages refer to, and its media type; None for any other name."""
        return self._static.get(name)
