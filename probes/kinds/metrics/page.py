"""A page of metrics, read line by line: Prometheus' text format 0.0.4 and OpenMetrics 1.0.

Work is linear in the page, and a caller may pause between two batches. prometheus_client has parsers too; they know no line numbers,
take malformed lines for metrics, and need quadratic time for some lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple

from probes import Failed, Reason
from probes.expect.patterns import shown

BATCH = 100  # lines: one to three milliseconds of work
LONGEST_LINE = 64 * 1024  # bytes
_LEGACY = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_TEXT = r'"((?:[^"\\]|\\.)*+)"'
_NAME = re.compile(_LEGACY)
_QUOTED_NAME = re.compile(rf"[ \t]*{_TEXT}[ \t]*(?:,|(?=\}}))")
_LABEL = re.compile(rf"[ \t]*(?:({_LEGACY})|{_TEXT})[ \t]*=[ \t]*{_TEXT}[ \t]*(,?)")
_LABELS = re.compile(r"[ \t]*\{")
_END_OF_LABELS = re.compile(r"[ \t]*\}")
_COMMENT = re.compile(rf"#[ \t]+(HELP|TYPE|UNIT)[ \t]+(?:({_LEGACY})|{_TEXT})(?:[ \t]+(.*))?\Z")
_ESCAPED = re.compile(r"\\([\\n\"])")
_TYPES = {  # of a family: the endings of its samples' names
    "counter": ("",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("", "_sum", "_count"),
    "untyped": ("",),
}
_OPENMETRICS = {
    "counter": ("_total", "_created"),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "summary": ("", "_sum", "_count", "_created"),
    "info": ("_info",),
    "stateset": ("",),
    "unknown": ("",),
}
_FULL_NAME = {"counter": "_total", "info": "_info"}  # OpenMetrics declares these families without the ending that a query needs


@dataclass(slots=True)
class Family:
    """A family of the page, by the name that a query uses: a counter's ends in `_total` in both formats."""

    name: str
    type: str = "untyped"
    typed: bool = False  # whether a TYPE line declared it
    series: int = 0


class Sample(NamedTuple):
    """A line with a value."""

    family: Family
    name: str
    labels: dict[str, str]
    value: float
    series: int  # a hash of its name and labels

    def __str__(self) -> str:
        return self.name + ("{" + ",".join(f"{name}={shown(value)}" for name, value in self.labels.items()) + "}" if self.labels else "")


class Page:
    """A page and the families that were read so far. A malformed line raises Failed(schema) with its number and the cause."""

    def __init__(self, body: bytes, *, openmetrics: bool, most: int) -> None:
        self.families: dict[str, Family] = {}
        self.series = 0
        self._body = body
        self._openmetrics = openmetrics
        self._most = most
        self._declared: dict[str, Family] = {}  # by the name in HELP, TYPE and UNIT
        self._of_sample: dict[str, Family] = {}  # by the name of a sample
        self._seen: set[int] = set()

    def batches(self) -> Iterator[list[Sample]]:
        """The samples, those of BATCH lines at a time. Raises Failed(size) for more than `most` series."""
        batch: list[Sample] = []
        ended = False
        for number, line in enumerate(BytesIO(self._body), 1):
            if number % BATCH == 0:
                yield batch
                batch = []
            if len(line) > LONGEST_LINE:
                raise Failed(Reason.SIZE, f"line {number:,} has {len(line):,} bytes, more than {LONGEST_LINE:,}")
            try:
                text = line.decode().removesuffix("\n")
            except UnicodeDecodeError:
                raise Failed(Reason.SCHEMA, f"line {number:,} is not UTF-8") from None
            try:
                if ended:
                    raise ValueError("follows # EOF")
                ended = self._openmetrics and text == "# EOF"
                if sample := None if ended else self._read(text):
                    batch.append(sample)
            except ValueError as error:
                raise Failed(Reason.SCHEMA, f"line {number:,}: {error}: {shown(text)}") from None
        yield batch
        if self._openmetrics and not ended:
            raise Failed(Reason.SCHEMA, "the page has no # EOF at its end, so a part of it may be missing")

    def _read(self, text: str) -> Sample | None:
        if not self._openmetrics:
            text = text.strip(" \t")
        if text.startswith("#"):
            if found := _COMMENT.match(text):
                self._declare(found[1], found[2] or _unescaped(found[3]), found[4] or "")
            elif text.startswith(("# TYPE", "# HELP")):
                raise ValueError("no name of a metric follows")
            return None
        if not text:
            if self._openmetrics:
                raise ValueError("OpenMetrics has no empty lines")
            return None
        return self._sample(text)

    def _declare(self, word: str, name: str, rest: str) -> None:
        family = self._declared.get(name) or self._declared.setdefault(name, self._of_sample.get(name) or Family(name))
        if word == "TYPE":
            types = _OPENMETRICS if self._openmetrics else _TYPES
            kind = rest.strip()
            if kind not in types:
                raise ValueError(f"there is no type {shown(kind)}")
            if family.typed:
                raise ValueError("this is a second TYPE line of the family")
            if family.series:
                raise ValueError("the TYPE line comes after samples of the family")
            self.families.pop(family.name, None)
            family.type, family.typed = "untyped" if kind == "unknown" else kind, True
            if self._openmetrics:
                family.name = name + _FULL_NAME.get(kind, "")
            self._of_sample |= {name + ending: family for ending in types[kind]}
        else:
            self._of_sample.setdefault(name, family)
        self.families[family.name] = family

    def _sample(self, text: str) -> Sample:
        found = _NAME.match(text)
        name, at = (found[0], found.end()) if found else ("", 0)
        labels: dict[str, str] = {}
        opened = _LABELS.match(text, at)
        if opened:
            name, labels, at = self._labels(text, opened.end(), name)
        if not name:
            raise ValueError("no name of a metric begins the line")
        value, timestamp = self._value(text[at:])
        family = self._of_sample.get(name)
        if family is None:
            family = self._of_sample[name] = Family(name)
            self.families[name] = family
        series = hash((name, frozenset(labels.items())))
        if not timestamp and series in self._seen:
            raise ValueError("the page has this series twice")
        self._seen.add(series)
        family.series += 1
        self.series += 1
        if self.series > self._most:
            raise Failed(Reason.SIZE, f"the page has more than {self._most:,} series")
        return Sample(family, name, labels, value, series)

    def _labels(self, text: str, at: int, name: str) -> tuple[str, dict[str, str], int]:
        """The name, which may stand between the braces in quotes; the labels; and where they end."""
        if not name and (quoted := _QUOTED_NAME.match(text, at)):
            name, at = _unescaped(quoted[1]), quoted.end()
        labels: dict[str, str] = {}
        while found := _LABEL.match(text, at):
            key = found[1] or _unescaped(found[2] or "")
            if key in labels:
                raise ValueError(f"label {key} stands there twice")
            labels[key] = _unescaped(found[3])
            at = found.end()
            if not found[4]:
                break
        end = _END_OF_LABELS.match(text, at)
        if end is None:
            raise ValueError(f"character {at + 1:,} begins no label and doesn't end the labels")
        return name, labels, end.end()

    def _value(self, rest: str) -> tuple[float, bool]:
        """The value, and whether the line has a timestamp."""
        if self._openmetrics:
            rest, _, exemplar = rest.partition(" # ")
            if exemplar and not exemplar.startswith("{"):
                raise ValueError("its exemplar has no labels")
        words = rest.split()
        if not words or len(words) > 2:  # noqa: PLR2004 - a value and a timestamp
            raise ValueError("has no value" if not words else "has more than a value and a timestamp")
        try:
            value, *_ = map(_number, words)
        except ValueError:
            raise ValueError("the value or the timestamp is no number") from None
        return value, len(words) > 1


def _number(word: str) -> float:
    """As Go reads numbers: NaN, +Inf and hexadecimal ones too."""
    if "_" in word or not word.isascii():
        raise ValueError(word)
    return float.fromhex(word) if "x" in word.lower() else float(word)


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text)
