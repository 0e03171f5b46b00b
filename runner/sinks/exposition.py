"""The text of /metrics, kept in pieces: one per family and check, rendered when it changes and joined by family at a scrape.

Joined by check the text would break the format (a second HELP line). What is written here is byte for byte what
prometheus-client writes of the same data; a test holds it to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.utils import floatToGoString

number: Callable[[float], str] = floatToGoString

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Head:
    """A family as it is declared: its name as users query it (a counter's with `_total`), help, type and own labels."""

    name: str
    help: str
    type: str = "gauge"  # gauge, counter or histogram
    labels: tuple[str, ...] = ()  # beside check and kind, for families about a check


@dataclass(frozen=True, slots=True)
class Piece:
    """The sample lines of one check in one family. OpenMetrics differs only where there are exemplars."""

    text: str
    openmetrics: str = ""

    def of(self, *, openmetrics: bool) -> str:
        """The lines in the format that is asked for."""
        return self.openmetrics or self.text if openmetrics else self.text


def escape(value: str) -> str:
    """A label's value as both formats write it. What is no valid Unicode becomes a question mark: the page must stay UTF-8."""
    clean = value.encode("utf-8", "replace").decode("utf-8")
    return clean.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def labelled(labels: Mapping[str, str]) -> str:
    """`{a="x",b="y"}`, sorted by name as prometheus-client sorts; nothing for no labels."""
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in sorted(labels.items())) + "}"


def line(name: str, labels: Mapping[str, str], value: float) -> str:
    """One sample line without timestamp."""
    return f"{name}{labelled(labels)} {number(value)}\n"


def exemplar(trace_id: str, value: float, at: float) -> str:
    """What OpenMetrics appends to a bucket or a counter: nothing where the trace id is missing or too long (128 characters)."""
    if not trace_id or len("trace_id") + len(trace_id) > 128:  # noqa: PLR2004 - the standard's own bound
        return ""
    return f" # {labelled({'trace_id': trace_id})} {number(value)} {at}"


def head_lines(head: Head, *, openmetrics: bool) -> str:
    """HELP and TYPE. OpenMetrics names a counter without its `_total` and escapes quotes in the help, too."""
    text = head.help.replace("\\", r"\\").replace("\n", r"\n")
    name = head.name
    if openmetrics:
        text = text.replace('"', r"\"")
        name = name.removesuffix("_total") if head.type == "counter" else name
    return f"# HELP {name} {text}\n# TYPE {name} {head.type}\n"


@dataclass(slots=True)
class Exposition:
    """Every family's pieces. Families come in the order of their declaration; one without samples is left out."""

    heads: dict[str, Head] = field(default_factory=dict)
    _pieces: dict[str, dict[str, Piece]] = field(default_factory=dict)
    _joined: dict[tuple[str, bool], str] = field(default_factory=dict)

    def declare(self, heads: Iterable[Head]) -> None:
        """Makes families known. Raises ValueError where one is declared twice, and differently."""
        for head in heads:
            known = self.heads.setdefault(head.name, head)
            if (known.type, known.labels) != (head.type, head.labels):
                raise ValueError(f"{head.name} is declared twice: as {known.type}{known.labels} and as {head.type}{head.labels}")
            self._pieces.setdefault(head.name, {})

    def put(self, family: str, key: str, piece: Piece | None) -> None:
        """Replaces a check's lines in a family; None or empty text takes them away."""
        pieces = self._pieces[family]
        if piece is not None and piece.text:
            pieces[key] = piece
        elif pieces.pop(key, None) is None:
            return
        self._joined.pop((family, True), None)
        self._joined.pop((family, False), None)

    def drop(self, key: str) -> None:
        """Takes a check's lines out of every family."""
        for family in self._pieces:
            self.put(family, key, None)

    def render(self, *, openmetrics: bool) -> str:
        """The whole page without OpenMetrics' end mark."""
        return "".join(self._block(head, openmetrics=openmetrics) for head in self.heads.values())

    def _block(self, head: Head, *, openmetrics: bool) -> str:
        if (known := self._joined.get((head.name, openmetrics))) is not None:
            return known
        pieces = self._pieces[head.name].values()
        block = head_lines(head, openmetrics=openmetrics) + "".join(p.of(openmetrics=openmetrics) for p in pieces) if pieces else ""
        self._joined[head.name, openmetrics] = block
        return block


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header asks for OpenMetrics 1.0 before plain text. What it doesn't understand gets plain text."""
    best = {"openmetrics": 0.0, "plain": 0.0}
    for one in accept.split(","):
        media, *rest = (part.strip() for part in one.split(";"))
        given = dict(part.split("=", 1) for part in rest if "=" in part)
        if media == "application/openmetrics-text" and given.get("version", "1.0.0") == "1.0.0":
            best["openmetrics"] = max(best["openmetrics"], _quality(given.get("q", "1")))
        elif media == "text/plain":
            best["plain"] = max(best["plain"], _quality(given.get("q", "1")))
    return best["openmetrics"] > 0 and best["openmetrics"] >= best["plain"]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
