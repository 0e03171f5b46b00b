"""The templates and the style sheet, read once. Rendering escapes every text."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined

_STATIC = {"page.css": "text/css; charset=utf-8"} | {f"{shape}.svg": "image/svg+xml" for shape in ("up", "down", "unknown", "pending")}
_TEMPLATES = ("base.html", "parts.html", "overview.html", "check.html")


class Pages:
    """Reads and compiles all templates in its constructor, so that a request reads no file. Rendering may run in a thread."""

    def __init__(self) -> None:
        here = files("runner.web")
        sources = {name: (here / "templates" / name).read_text("utf-8") for name in _TEMPLATES}
        environment = Environment(
            loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._templates = {name: environment.get_template(name) for name in _TEMPLATES}
        self._static = {name: ((here / "static" / name).read_bytes(), media) for name, media in _STATIC.items()}

    def render(self, template: str, **values: Any) -> str:
        """The page as HTML."""
        return self._templates[template].render(values)

    def static(self, name: str) -> tuple[bytes, str] | None:
        """A file that the pages refer to, and its media type; None for any other name."""
        return self._static.get(name)
