"""The conventions of Prometheus for names of metrics: base units, `_total` for counters and for nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
LONGEST = 100  # characters
BASE_UNITS = ("seconds", "bytes", "ratio", "celsius", "meters", "volts", "amperes", "joules", "grams")
_INSTEAD = {
    **dict.fromkeys(
        (
            *("nanoseconds", "microseconds", "milliseconds", "minutes", "hours", "days", "weeks", "millis", "micros", "nanos"),
            *("ns", "us", "ms", "msec", "sec", "secs", "mins", "hrs"),
        ),
        "seconds",
    ),
    **dict.fromkeys(
        (
            *("kilobytes", "megabytes", "gigabytes", "terabytes", "kibibytes", "mebibytes", "gibibytes", "bits"),
            *("kb", "mb", "gb", "tb", "kib", "mib", "gib"),
        ),
        "bytes",
    ),
    **dict.fromkeys(("percent", "percentage", "pct"), "ratio"),
    **dict.fromkeys(("fahrenheit", "kelvin"), "celsius"),
    **dict.fromkeys(("kilometers", "millimeters", "miles"), "meters"),
    **dict.fromkeys(("kilograms", "milligrams"), "grams"),
    **dict.fromkeys(("millivolts", "kilovolts"), "volts"),
}
_TYPES = frozenset({"counter", "gauge", "histogram", "summary"})
_OF_SERIES = ("_bucket", "_count", "_sum")


def breaches_of_convention(name: str, type: str) -> Iterator[str]:  # noqa: A002 - the exposition format's word
    """What is unusual about a name: `counts in minutes; use seconds`. `name` is a counter's with `_total`."""
    if ":" in name:
        yield "has a colon, which is for recording rules"
    if re.search("[a-z][A-Z]", name):
        yield "is not in snake_case"
    words = name.lower().split("_")
    for word in words:
        if word in _INSTEAD:
            yield f"counts in {word}; use {_INSTEAD[word]}"
        elif word in _TYPES:
            yield f"names its type, {word}"
    if type == "counter" and not name.endswith("_total"):
        yield "is a counter and doesn't end in _total"
    if type not in ("counter", "untyped", "") and name.endswith("_total"):
        yield f"ends in _total and is a {type}, not a counter"
    for ending in _OF_SERIES:
        if name.endswith(ending) and type not in ("untyped", ""):
            yield f"ends in {ending}, which is for the series of histograms and summaries"
