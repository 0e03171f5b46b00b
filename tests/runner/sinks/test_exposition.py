"""The text of /metrics against its yardsticks: prometheus-client's own rendering, promtool, and the catalogue of names."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector

from judge.observation import Observation
from probes import discover
from probes.core import Reason, Verdict
from runner.sinks import process
from runner.sinks.exposition import Exposition, Head, Piece, escape, line
from runner.sinks.families import OF_CHECKS, OF_THE_PROCESS, OF_THE_RUNNER, edges, head_of
from runner.sinks.metrics import Metrics
from tests.support.observations import AVAILABILITY, P95, TRACE, Hands, failed, made_check, made_plan, passed, unknown

OPEN = "application/openmetrics-text;version=1.0.0"
CATALOGUE = Path(__file__).with_name("catalogue.txt")
HOSTILE = 'a"b\\c\nd{e="f"} é 道 \x00'
API = made_check(slos=(AVAILABILITY, P95), tags=("smoke", "api"), runbook=HOSTILE)
CACHE = made_check("cache")


class Told(Collector):
    """A collector of families that were read from a text."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self.families


def told(families: Iterable[Metric]) -> CollectorRegistry:
    """A registry of its own that holds what was read."""
    registry = CollectorRegistry()
    registry.register(Told(families))
    return registry


def busy() -> Metrics:
    """Metrics after a few runs of each verdict, with everything on the page that can be."""
    metrics = Metrics(Hands(), "0.1.0")
    metrics.plan(made_plan(API, CACHE))
    for seconds in (0.0, 0.004, 0.5, 7.25, 1e9):
        metrics(passed(API, seconds, trace_id=TRACE, facts={"status_code": 200, "tokens": 3}, phases={"connect": 1e-5}))
    metrics(failed(CACHE, Reason.TIMEOUT, trace_id=TRACE, phases={"processing": math.inf}, facts={"status_code": math.nan}))
    metrics(unknown(CACHE))
    metrics.missed(CACHE, "overlap")
    metrics.lagged(0.25)
    metrics.reloaded(ok=True)
    metrics.logged("info")
    return metrics


def test_plain_text_is_byte_for_byte_prometheus_clients() -> None:
    """What prometheus-client reads from our text it writes back as the very same bytes."""
    text = busy().scrape("", process.sample())[0]
    assert generate_latest(told(parse_text(text.decode()))) == text


def test_openmetrics_is_byte_for_byte_prometheus_clients() -> None:
    """The strict OpenMetrics parser takes it, and the client writes the same bytes, exemplars and end mark included."""
    text = busy().scrape(OPEN, process.sample())[0]
    families = parse_openmetrics(text.decode())  # type: ignore[no-untyped-call]
    assert generate_openmetrics(told(_with_plain_times(families))) == text  # type: ignore[no-untyped-call]


def _with_plain_times(families: Iterable[Metric]) -> Iterable[Metric]:
    """The parser keeps an exemplar's time in nanoseconds; the client's instruments, as ours, in float seconds."""
    for family in families:
        family.samples = [
            s._replace(exemplar=s.exemplar._replace(timestamp=float(str(s.exemplar.timestamp)))) if s.exemplar else s
            for s in family.samples
        ]
        yield family


class Reference:
    """The same families, counted by prometheus-client's own instruments."""

    def __init__(self, checks: tuple[str, ...]) -> None:
        self.registry = CollectorRegistry()
        base = ["check", "kind"]
        self.runs = Counter("probe_runs", "r", [*base, "outcome"], registry=self.registry)
        self.failures = Counter("probe_failures", "f", [*base, "reason"], registry=self.registry)
        self.seconds = Histogram("probe_run_duration_seconds", "d", base, registry=self.registry, buckets=edges([P95]))
        self.success = Gauge("probe_success", "s", base, registry=self.registry)
        self.unknown = Gauge("probe_unknown", "u", base, registry=self.registry)
        for check in checks:
            self.seconds.labels(check, "made")
            for verdict in Verdict:
                self.runs.labels(check, "made", verdict.value)

    def __call__(self, seen: Observation) -> None:
        names = seen.check.name, "made"
        self.runs.labels(*names, seen.verdict.value).inc()
        self.unknown.labels(*names).set(seen.verdict is Verdict.UNKNOWN)
        if seen.reason:
            self.failures.labels(*names, seen.reason.value).inc()
        if seen.verdict is Verdict.PASS:
            self.seconds.labels(*names).observe(seen.seconds)
        if seen.verdict is Verdict.UNKNOWN:
            self.success.remove(*names) if names in self.success._metrics else None
        else:
            self.success.labels(*names).set(seen.verdict is Verdict.PASS)

    def samples(self) -> set[tuple[str, tuple[tuple[str, str], ...], float]]:
        """Every sample but the creation times that we never write."""
        return {
            (s.name, tuple(sorted(s.labels.items())), s.value)
            for family in self.registry.collect()
            for s in family.samples
            if not s.name.endswith("_created")
        }


runs = st.one_of(
    st.builds(passed, st.sampled_from([API, CACHE]), st.floats(0, 100)),
    st.builds(failed, st.sampled_from([API, CACHE]), st.sampled_from(Reason)),
    st.builds(unknown, st.sampled_from([API, CACHE]), st.sampled_from([Reason.STARVED, Reason.OFFLINE])),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(runs, max_size=30))
def test_any_history_counts_as_prometheus_clients_instruments_do(history: list[Observation]) -> None:
    """Whatever happened, our pieces say what the client's own counters, gauges and histograms say."""
    ours, reference = Metrics(Hands(), "0.1.0"), Reference(("api", "cache"))
    ours.plan(made_plan(API, CACHE))
    for seen in history:
        ours(seen)
        reference(seen)
    names = {name for name, _, _ in reference.samples()}
    text = ours.scrape()[0].decode()
    found = {(s.name, tuple(sorted(s.labels.items())), s.value) for f in parse_text(text) for s in f.samples if s.name in names}
    assert found == reference.samples()


@settings(max_examples=60, deadline=None)
@given(st.text())
@example(HOSTILE)
@example("\\n is no new line")
def test_any_label_value_comes_back_as_it_was(value: str) -> None:
    """Quotes, backslashes, newlines and all of Unicode: one line, read back whole."""
    assert "\n" not in escape(value)
    page = Exposition()
    page.declare([Head("a", 'Says "a" \\ b\nc.')])
    page.put("a", "x", Piece(line("a", {"v": value}, 1.0)))
    [family] = parse_openmetrics(page.render(openmetrics=True) + "# EOF\n")  # type: ignore[no-untyped-call]
    assert [s.labels["v"] for s in family.samples] == [value]
    assert generate_latest(told(parse_text(page.render(openmetrics=False)))).decode() == page.render(openmetrics=False)


def test_what_is_no_unicode_breaks_no_page() -> None:
    """A lone surrogate in a runbook's path becomes a question mark; the page stays UTF-8."""
    assert escape("a\udc80b") == "a?b"


def test_a_scrape_costs_what_changed() -> None:
    """A family's text is joined anew only when one of its checks said something since the last scrape."""
    page = Exposition()
    page.declare([Head("a", "A."), Head("b", "B.")])
    page.put("a", "x", Piece("a 1.0\n"))
    page.put("b", "x", Piece("b 1.0\n"))
    page.render(openmetrics=False)
    kept = page._joined["a", False]
    page.put("b", "x", Piece("b 2.0\n"))
    page.render(openmetrics=False)
    assert page._joined["a", False] is kept
    assert page._joined["b", False].endswith("b 2.0\n")


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_scrape_is_never_of_before(openmetrics: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """In both formats, what was said since the last scrape is on the page, and what was taken away is not."""
    page = Exposition()
    page.declare([Head("a", "A.")])
    page.put("a", "x", Piece("a 1.0\n"))
    assert "a 1.0\n" in page.render(openmetrics=openmetrics)
    page.put("a", "x", Piece("a 2.0\n"))
    assert page.render(openmetrics=openmetrics).endswith("a 2.0\n")
    page.drop("x")
    assert page.render(openmetrics=openmetrics) == ""


def test_two_declarations_of_one_family_must_agree() -> None:
    """Kinds share families such as the certificate's expiry: with the same type and labels, or not at all."""
    page = Exposition()
    page.declare([Head("a", "A."), Head("a", "A, in other words.")])
    with pytest.raises(ValueError, match="a is declared twice"):
        page.declare([Head("a", "A.", labels=("b",))])


def _catalogue() -> str:
    """Every family of every kind and of the runner, a line each: name, type, labels, where from, help."""
    rows = {}
    for head in OF_CHECKS:
        rows[head.name] = _row(head, ("check", "kind", *head.labels), "every check")
    for kind, probe in discover().items():
        for head in map(head_of, probe.families):
            other = rows.get(head.name)
            where = f"{other.split(' | ')[3]}, {kind}" if other else kind
            rows[head.name] = _row(head, ("check", "kind", *head.labels), where)
    for head in (*OF_THE_RUNNER, *OF_THE_PROCESS):
        rows[head.name] = _row(head, head.labels, "the runner")
    return "".join(f"{row}\n" for _, row in sorted(rows.items()))


def _row(head: Head, labels: tuple[str, ...], where: str) -> str:
    return " | ".join((head.name, head.type, ",".join(labels), where, head.help))


def test_the_catalogue_of_families_is_what_was_promised() -> None:
    """Users script against these names: a change here is a change of a promise, and is made in catalogue.txt as well.

    To take a change over: python -m tests.runner.sinks.test_exposition
    """
    assert _catalogue() == CATALOGUE.read_text()


def test_kinds_agree_on_the_families_that_they_share() -> None:
    """All kinds can stand in one plan, beside what every check has."""
    page = Exposition()
    page.declare(OF_CHECKS + OF_THE_RUNNER + OF_THE_PROCESS)
    for probe in discover().values():
        page.declare(map(head_of, probe.families))


@pytest.mark.monitoring
def test_promtool_finds_nothing_to_say() -> None:
    """Prometheus' own linter takes the page without a word."""
    done = subprocess.run(["promtool", "check", "metrics"], input=busy().scrape("", process.sample())[0], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


if __name__ == "__main__":
    CATALOGUE.write_text(_catalogue())
