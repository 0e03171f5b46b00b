"""The checks' part of /metrics: one collector of prometheus-client, with its text kept in pieces, one per family and check.

A piece notes what changed; a scrape makes the text of the pieces that changed since the last one, and joins all of them by family.
(Joined by check, the text would repeat HELP lines, which the format forbids.) The text is byte for byte the one that prometheus-client
writes for the same samples; a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from threading import RLock
from types import MappingProxyType

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

_like_go: Callable[[float], str] = floatToGoString
_TOGETHER = 40  # pieces that are joined at once: what is done between two looks at the time
_PLAIN = 1e6  # from here on Go writes an exponent and Python none
Series = tuple[str, ...]  # a sample's name, then the values of its labels: check, kind, and those of the family
Samples = Mapping[Series, float]
Exemplars = Mapping[Series, Exemplar]
NO_EXEMPLARS: Exemplars = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Head:
    """A family as it is declared: its name as users query it (a counter's with `_total`), help, type and own labels."""

    name: str
    help: str
    type: str = "gauge"  # gauge, counter or histogram
    labels: tuple[str, ...] = ()  # beside check and kind

    def labels_of(self, series: Series, common: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
        """The labels of one sample, with the `common` ones that it doesn't have itself.

        Raises ValueError where the sample has more or fewer values than the family has labels.
        """
        bucket = self.type == "histogram" and series[0].endswith("_bucket")
        names = ("check", "kind", *self.labels, *(("le",) if bucket else ()))
        return {**common, **{name: clean(value) for name, value in zip(names, series[1:], strict=True)}}


def number(value: float) -> str:
    """A sample's value as prometheus-client writes it: like Go, which for most numbers is like Python."""
    value = float(value)
    return repr(value) if -_PLAIN < value < _PLAIN else _like_go(value)


def clean(value: str) -> str:
    """A label's value in valid UTF-8: a question mark replaces every invalid character."""
    return value.encode("utf-8", "replace").decode("utf-8")


def escape(value: str) -> str:
    """A label's value as both formats write it."""
    return clean(value).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _labelled(labels: Mapping[str, str]) -> str:
    """`{a="x",b="y"}`, sorted by name as prometheus-client sorts."""
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in sorted(labels.items())) + "}"


def exemplar(trace_id: str, value: float, at: float) -> Exemplar | None:
    """An exemplar that leads from a bucket or a counter to a run; None if the trace id is missing or too long (128 characters)."""
    if not trace_id or len("trace_id") + len(trace_id) > 128:  # noqa: PLR2004 - the standard's own bound
        return None
    return Exemplar({"trace_id": clean(trace_id)}, value, at)


class Piece:
    """The samples of one check in one family, which never change, and their lines, made when somebody asks for them.

    It takes over the names and labels of the lines from `before`, since they rarely change. It keeps no object per sample: the garbage
    collector would have to visit each of them, and it stops the loop while it works.
    """

    __slots__ = ("_openmetrics", "_starts", "_text", "exemplars", "series", "values")

    def __init__(self, series: tuple[Series, ...], values: tuple[float, ...], exemplars: Exemplars, before: Piece | None) -> None:
        self.series, self.values = series, values
        self.exemplars = dict(exemplars) if exemplars else NO_EXEMPLARS
        self._starts: tuple[str, ...] = ()  # of the lines
        self._text = self._openmetrics = ""
        if before is not None and before.series == series:
            self.series, self._starts = before.series, before._starts  # noqa: SLF001 - of the same kind

    def text(self, head: Head, common: Mapping[str, str]) -> str:
        """Its lines as text."""
        if not self._text:
            self._text = "".join([f"{line}\n" for line in self._lines(head, common)])
        return self._text

    def openmetrics(self, head: Head, common: Mapping[str, str]) -> str:
        """Its lines as OpenMetrics, which differ only where there are exemplars."""
        if not self.exemplars:
            return self.text(head, common)
        if not self._openmetrics:
            found = map(self.exemplars.get, self.series)
            lines = zip(self._lines(head, common), found, strict=True)
            self._openmetrics = "".join([f"{line}{_appended(one) if one else ''}\n" for line, one in lines])
        return self._openmetrics

    def _lines(self, head: Head, common: Mapping[str, str]) -> list[str]:
        if not self._starts:
            self._starts = tuple([f"{series[0]}{_labelled(head.labels_of(series, common))} " for series in self.series])
        return [start + number(value) for start, value in zip(self._starts, self.values, strict=True)]


def _appended(one: Exemplar) -> str:
    return f" # {_labelled(one.labels)} {number(one.value)} {one.timestamp}"


class Rendered(Metric):
    """A family for prometheus-client, with its text ready. Its samples are made on demand: a scrape needs the text alone."""

    def __init__(self, head: Head, pieces: Sequence[Piece] = (), common: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(head.name.removesuffix("_total") if head.type == "counter" else head.name, head.help, head.type)
        self._head = head
        self._pieces = pieces
        self._common = common
        self._texts: dict[bool, bytes] = {}
        self._samples: list[Sample] | None = None

    @property
    def samples(self) -> list[Sample]:
        """Every sample of every check."""
        if self._samples is None:
            self._samples = [
                Sample(series[0], self._head.labels_of(series, self._common), value, None, piece.exemplars.get(series))
                for piece in self._pieces
                for series, value in zip(piece.series, piece.values, strict=True)
            ]
        return self._samples

    @samples.setter
    def samples(self, samples: list[Sample]) -> None:
        self._samples = samples

    def text(self, *, openmetrics: bool) -> bytes:
        """The family's text as prometheus-client writes it; joined at the first call, and kept."""
        for _ in self.steps(openmetrics=openmetrics):
            pass
        return self._texts[openmetrics]

    def steps(self, *, openmetrics: bool) -> Iterator[None]:
        """Makes the text in short steps; afterwards `text` returns it at once."""
        if openmetrics in self._texts:
            return
        head, common, pieces = self._head, self._common, self._pieces
        texts = [self._help_and_type(openmetrics=openmetrics).encode()]
        for first in range(0, len(pieces), _TOGETHER):
            part = pieces[first : first + _TOGETHER]
            if openmetrics:
                texts.append("".join([piece.openmetrics(head, common) for piece in part]).encode())
            else:
                texts.append("".join([piece.text(head, common) for piece in part]).encode())
            yield
        self._texts[openmetrics] = b"".join(texts)
        yield

    def _help_and_type(self, *, openmetrics: bool) -> str:
        """OpenMetrics names a counter without its `_total` and escapes quotes in the help, too."""
        name, text = self._head.name, self.documentation.replace("\\", r"\\").replace("\n", r"\n")
        if openmetrics:
            name, text = self.name, text.replace('"', r"\"")
        return f"# HELP {name} {text}\n# TYPE {name} {self.type}\n"


class Exposition(Collector):
    """Every family's samples of every check, in the order in which the families were declared; one without samples is left out.

    Any thread may collect it. Each change is safe by itself. Hold `lock` around changes that belong together, so that a scrape sees
    all of them or none.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.lock = RLock()
        self._registry = registry
        self._heads: dict[str, Head] = {}
        self._pieces: dict[str, dict[str, Piece]] = {}
        self._common: Mapping[str, str] = {}
        self._rendered: dict[str, Rendered] = {}  # the families that have not changed since they were collected
        registry.register(self)

    def declare(self, heads: Iterable[Head]) -> None:
        """Makes families known, and reserves their names in the registry.

        Raises ValueError, and changes nothing, where a family is declared twice and differently, or where its name is taken.
        """
        fresh: dict[str, Head] = {}
        for head in heads:
            known = self._heads.get(head.name) or fresh.setdefault(head.name, head)
            if (known.type, known.labels) != (head.type, head.labels):
                raise ValueError(f"{head.name} is declared twice: as {known.type}{known.labels} and as {head.type}{head.labels}")
        if not fresh:
            return
        self._registry.register(_Names(fresh.values()))
        with self.lock:
            self._heads |= fresh
            self._pieces |= {name: {} for name in fresh}

    def put(self, family: str, check: str, samples: Samples, exemplars: Exemplars = NO_EXEMPLARS) -> None:
        """Replaces a check's samples in a family; an empty mapping removes them."""
        with self.lock:
            pieces = self._pieces[family]
            before, series, values = pieces.get(check), tuple(samples), tuple(samples.values())
            if (before.values == values and before.series == series) if before else not samples:  # an exemplar never changes alone
                return
            if samples:
                pieces[check] = Piece(series, values, exemplars, before)
            else:
                del pieces[check]
            self._rendered.pop(family, None)

    def label(self, common: Mapping[str, str]) -> None:
        """Gives labels to every series of every check, in place of those that it gave before."""
        with self.lock:
            if common == self._common:
                return
            self._common = {name: clean(value) for name, value in common.items()}
            self._rendered.clear()
            for pieces in self._pieces.values():
                for check, piece in pieces.items():
                    pieces[check] = Piece(piece.series, piece.values, piece.exemplars, None)

    def drop(self, check: str) -> None:
        """Removes a check's samples from every family."""
        with self.lock:
            for family in self._pieces:
                self.put(family, check, {})

    def collect(self) -> Iterable[Metric]:
        """Every family as it is now."""
        with self.lock:
            filled = {name: pieces for name, pieces in self._pieces.items() if pieces}
            for name in filled.keys() - self._rendered.keys():
                self._rendered[name] = Rendered(self._heads[name], tuple(filled[name].values()), self._common)
            return [copy(self._rendered[name]) for name in filled]


class _Names(Collector):
    """Reserves the names of families in a registry, so that no other collector can register them. Exposition has their samples."""

    def __init__(self, heads: Iterable[Head]) -> None:
        self._families = [Rendered(head) for head in heads]

    def describe(self) -> Iterable[Metric]:
        return self._families

    def collect(self) -> Iterable[Metric]:
        return ()
