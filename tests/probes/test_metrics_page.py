"""How a page of metrics is read: both formats, what is malformed and where, and the bounds."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from probes.core import Failed, Reason
from probes.kinds.metrics.page import BATCH, LONGEST_LINE, Page, Sample

WORDS = st.text(st.characters(codec="utf-8"), max_size=12)


def read(text: str | bytes, *, openmetrics: bool = False, most: int = 1000) -> tuple[Page, list[Sample]]:
    """A page, and all of its samples."""
    page = Page(text.encode() if isinstance(text, str) else text, openmetrics=openmetrics, most=most)
    return page, [sample for batch in page.batches() for sample in batch]


def refused(text: str | bytes, *, openmetrics: bool = False, most: int = 1000) -> tuple[Reason, str]:
    """Why a page can't be read."""
    with pytest.raises(Failed) as failed:
        read(text, openmetrics=openmetrics, most=most)
    return failed.value.reason, failed.value.message


def busy(label: str, value: float) -> CollectorRegistry:
    """A registry with a family of each type, and labels that need escapes."""
    registry = CollectorRegistry()
    Counter("trips", "Trips.", ["kind"], registry=registry).labels(label).inc(abs(value) if math.isfinite(value) else 1)
    Gauge("fuel_ratio", f"Fuel: {label}", ["kind"], registry=registry).labels(label).set(value)
    Histogram("leg_duration_seconds", "Legs.", ["kind"], buckets=(0.5, 1), registry=registry).labels(label).observe(0.7)
    Summary("story_size_bytes", "Stories.", registry=registry).observe(3)
    Info("worker", "The worker.", registry=registry).info({"pid": label})
    Counter("never", "Has no sample.", ["kind"], registry=registry)
    return registry


def plain(samples: Any) -> set[tuple[str, frozenset[tuple[str, str]], str]]:
    """Name, labels and value of samples, where NaN is NaN."""
    return {(one.name, frozenset(one.labels.items()), repr(float(one.value))) for one in samples}


def by_client(families: Any) -> set[tuple[str, frozenset[tuple[str, str]], str]]:
    """The same of what prometheus_client has read."""
    return plain(sample for family in families for sample in family.samples)


@given(WORDS.filter(lambda text: "\r" not in text), st.floats())
@example('a"b\\c\nd{e="f"} # {x="y"} 1', math.nan)
@example("}", -math.inf)
def test_reads_what_clients_write(label: str, value: float) -> None:
    """Whatever prometheus_client writes is read as its own parsers read it, in both formats: the same names, labels and values."""
    registry = busy(label, value)
    text, openmetrics = generate_latest(registry).decode(), generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    assert plain(read(text)[1]) == by_client(parse_text(text))
    by_openmetrics = by_client(parse_openmetrics(openmetrics))  # type: ignore[no-untyped-call]
    assert plain(read(openmetrics, openmetrics=True)[1]) == by_openmetrics


@pytest.mark.parametrize("openmetrics", [False, True])
def test_families_have_the_names_that_queries_use(*, openmetrics: bool) -> None:
    """A counter's name ends in _total in both formats, and a family without samples is there with no series."""
    registry = busy("x", 1)
    text = generate_openmetrics(registry) if openmetrics else generate_latest(registry)  # type: ignore[no-untyped-call]
    page, _ = read(text, openmetrics=openmetrics)
    types = {name: (family.type, family.series) for name, family in page.families.items() if not name.endswith("_created")}
    created = int(openmetrics)
    assert types == {
        "trips_total": ("counter", 1 + created),
        "fuel_ratio": ("gauge", 1),
        "leg_duration_seconds": ("histogram", 5 + created),
        "story_size_bytes": ("summary", 2 + created),
        "worker_info": ("info" if openmetrics else "gauge", 1),
        "never_total": ("counter", 0),
    }


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_page_or_a_failure(data: bytes, openmetrics: bool) -> None:  # noqa: FBT001 - hypothesis names it
    """Hostile bytes raise nothing but Failed."""
    with contextlib.suppress(Failed):
        read(data, openmetrics=openmetrics)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("a", "has no value"),
        ("a 1 2 3", "has more than a value and a timestamp"),
        ("a one", "the value or the timestamp is no number"),
        ("a 1_000", "the value or the timestamp is no number"),
        ("a 1 soon", "the value or the timestamp is no number"),
        ('a{b="c" 1', "character 9 begins no label and doesn't end the labels"),
        ('a{b="c} 1', "character 3 begins no label and doesn't end the labels"),
        ("a{b=c} 1", "character 3 begins no label and doesn't end the labels"),
        ('a{b="c",b="d"} 1', "label b stands there twice"),
        ("{} 1", "no name of a metric begins the line"),
        ("<html>", "no name of a metric begins the line"),
        ('["# HELP a"', "no name of a metric begins the line"),
        ("# TYPE a speedometer", 'there is no type "speedometer"'),
        ("# TYPE 0 gauge", "no name of a metric follows"),
        ("ok 2", "the page has this series twice"),
        ("# TYPE ok gauge", "the TYPE line comes after samples of the family"),
    ],
)
def test_a_malformed_line_is_named(line: str, cause: str) -> None:
    """The message has the number of the line, the cause, and what stands there; the reason is schema."""
    reason, message = refused(f"# a comment\nok 1\n{line}\n")
    assert reason is Reason.SCHEMA
    assert message.startswith(f"line 3: {cause}: "), message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1\n", "the page has no # EOF at its end, so a part of it may be missing"),
        ("a 1\n\n# EOF\n", 'line 2: OpenMetrics has no empty lines: ""'),
        ("# EOF\na 1\n", 'line 2: follows # EOF: "a 1"'),
        ("a_total 1 # later\n# EOF\n", 'line 1: its exemplar has no labels: "a_total 1 # later"'),
    ],
)
def test_what_openmetrics_asks_beyond_the_text_format(text: str, message: str) -> None:
    """A page that was cut off is not taken for a whole one."""
    assert refused(text, openmetrics=True) == (Reason.SCHEMA, message)


def test_names_and_labels_beyond_ascii() -> None:
    """Quoted names of UTF-8, as newer clients write them, are read."""
    _, samples = read('{"trips.made", "Zug.Art"="ICE"} 0x1p3 1700000000\n')
    assert (samples[0].name, samples[0].labels, samples[0].value) == ("trips.made", {"Zug.Art": "ICE"}, 8.0)


def test_the_bounds() -> None:
    """Series above the bound and a line that is too long are failures with reason size, and no byte that isn't UTF-8 is read."""
    assert refused("".join(f'a{{n="{n}"}} 1\n' for n in range(4)), most=3) == (Reason.SIZE, "the page has more than 3 series")
    assert refused("# " + "x" * LONGEST_LINE)[0] is Reason.SIZE
    assert refused(b'a 1\nb{c="\xff"} 1\n') == (Reason.SCHEMA, "line 2 is not UTF-8")


def test_comments_alone_are_batches_too() -> None:
    """A page of comments gives the loop back as often as one of samples."""
    page = Page(b"#\n" * (BATCH * 10), openmetrics=False, most=1)
    assert len(list(page.batches())) == 11


@pytest.mark.parametrize("line", ["a" + "\\" * 60_000, 'a{b="' + "\\" * 60_001, 'a{b="' + '\\"' * 30_000, "a{" + 'b="",' * 10_000])
def test_long_lines_need_linear_time(line: str) -> None:
    """Lines for which other parsers need minutes are refused at once."""
    assert refused(f"{line}\n")[0] is Reason.SCHEMA


def test_a_family_without_a_type() -> None:
    """A family without TYPE is untyped, and its help may come without samples."""
    page, _ = read("# HELP waiting Nobody knows.\nother 3\n")
    assert {name: (family.type, family.series) for name, family in page.families.items()} == {
        "waiting": ("untyped", 0),
        "other": ("untyped", 1),
    }
