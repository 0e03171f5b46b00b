"""The text of /metrics against its yardsticks: prometheus-client's own rendering, promtool, and the catalogue of names."""

from __future__ import annotations

import math
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from judge.observation import Observation
from probes import discover
from probes.core import Reason, Verdict
from runner.shares.families import FAMILIES as OF_SHARES
from runner.sinks.exposition import Exposition, Head, Rendered, escape
from runner.sinks.families import OF_CHECKS, edges, head_of
from runner.sinks.registry import OPENMETRICS, TEXT, Registry, render
from tests.support.metrics import Counted, proc
from tests.support.observations import AVAILABILITY, P95, TRACE, Made, failed, made_check, made_plan, passed, unknown

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


def busy(folder: Path) -> Counted:
    """Metrics after a few runs of each verdict, with everything on the page that can be; `folder` is to hold a /proc."""
    metrics = Counted()
    metrics.count_errors_of(("journal",))
    ProcessCollector(registry=metrics.registry, proc=proc(folder))
    metrics.plan(made_plan(API, CACHE))
    for seconds in (0.0, 0.004, 0.5, 7.25, 1e9):
        metrics(passed(API, seconds, trace_id=TRACE, facts={"status_code": 200, "tokens": 3}, phases={"connect": 1e-5}))
    metrics(failed(CACHE, Reason.TIMEOUT, trace_id=TRACE, phases={"processing": math.inf}, facts={"status_code": math.nan}))
    metrics(unknown(CACHE))
    metrics.missed(CACHE, "overlap")
    metrics.lagged(0.25)
    metrics.reloaded(ok=True)
    metrics.logged("roadtrip", "INFO")
    metrics.deployed("api", "v2.3.1", at=1_795_521_600.0)
    return metrics


def test_the_page_is_byte_for_byte_prometheus_clients(tmp_path: Path) -> None:
    """Joined from pieces or written by generate_latest of the same registry: the same bytes, in both formats."""
    metrics = busy(tmp_path)
    Counter("fleet_trips", "Trips.", ["kind"], registry=metrics.registry).labels(HOSTILE).inc(2)
    Info("fleet", "The fleet.", registry=metrics.registry).info({"city": "Lisbon"})
    assert metrics.page(TEXT) == generate_latest(metrics.registry)
    assert metrics.page(OPENMETRICS) == generate_openmetrics(metrics.registry)  # type: ignore[no-untyped-call]


def test_plain_text_is_byte_for_byte_prometheus_clients(tmp_path: Path) -> None:
    """What prometheus-client reads from our text it writes back as the very same bytes."""
    text = busy(tmp_path).page()
    assert generate_latest(told(parse_text(text.decode()))) == text


def test_openmetrics_is_byte_for_byte_prometheus_clients(tmp_path: Path) -> None:
    """The strict OpenMetrics parser takes it, and the client writes the same bytes, exemplars and end mark included."""
    text = busy(tmp_path).page(OPENMETRICS)
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
        self.rare: set[tuple[str, str]] = set()
        for check in checks:
            self.seconds.labels(check, "made")
            for verdict in Verdict:
                self.runs.labels(check, "made", verdict.value)

    def __call__(self, seen: Observation) -> None:
        names = seen.check.name, "made"
        self.runs.labels(*names, seen.verdict.value).inc()
        if seen.verdict is Verdict.UNKNOWN or names in self.rare:
            self.unknown.labels(*names).set(seen.verdict is Verdict.UNKNOWN)
            self.rare.add(names)
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
    ours, reference = Counted(), Reference(("api", "cache"))
    ours.plan(made_plan(API, CACHE))
    for seen in history:
        ours(seen)
        reference(seen)
    names = {name for name, _, _ in reference.samples()}
    text = ours.page().decode()
    found = {(s.name, tuple(sorted(s.labels.items())), s.value) for f in parse_text(text) for s in f.samples if s.name in names}
    assert found == reference.samples()
    assert ours.page(OPENMETRICS) == generate_openmetrics(ours.registry)  # type: ignore[no-untyped-call]


@settings(max_examples=60, deadline=None)
@given(st.text())
@example(HOSTILE)
@example("\\n is no new line")
def test_any_label_value_comes_back_as_it_was(value: str) -> None:
    """Quotes, backslashes, newlines and all of Unicode: one line, read back whole."""
    assert "\n" not in escape(value)
    page = Exposition(registry := Registry())
    page.declare([Head("a_bucket", 'Says "a" \\ b\nc.', labels=("v",))])
    page.put("a_bucket", "x", {("a_bucket", "x", "made", value): 1.0})
    [family] = parse_openmetrics(render(registry, OPENMETRICS).decode())  # type: ignore[no-untyped-call]
    assert [s.labels["v"] for s in family.samples] == [value]
    assert generate_latest(told(parse_text(render(registry, TEXT).decode()))) == render(registry, TEXT)


def test_what_is_no_unicode_breaks_no_page() -> None:
    """A lone surrogate in a runbook's path becomes a question mark; the page stays UTF-8."""
    assert escape("a\udc80b") == "a?b"


def test_a_scrape_costs_what_changed() -> None:
    """A family's text is joined anew only when one of its checks said something since the last scrape."""
    page = Exposition(CollectorRegistry())
    page.declare([Head("a", "A."), Head("b", "B.")])
    page.put("a", "x", {("a", "x", "made"): 1.0})
    page.put("b", "x", {("b", "x", "made"): 1.0})
    kept, _ = joined(page)
    page.put("a", "x", {("a", "x", "made"): 1.0})
    page.put("b", "x", {("b", "x", "made"): 2.0})
    again, changed = joined(page)
    assert again is kept
    assert changed.endswith(b'b{check="x",kind="made"} 2.0\n')


def joined(page: Exposition, *, openmetrics: bool = False) -> list[bytes]:
    """The text of each family."""
    return [family.text(openmetrics=openmetrics) for family in page.collect() if isinstance(family, Rendered)]


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_scrape_is_never_of_before(openmetrics: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """In both formats, what was said since the last scrape is on the page, and what was taken away is not."""
    page = Exposition(CollectorRegistry())
    page.declare([Head("a", "A.")])
    page.put("a", "x", {("a", "x", "made"): 1.0})
    assert joined(page, openmetrics=openmetrics)[0].endswith(b'a{check="x",kind="made"} 1.0\n')
    page.put("a", "x", {("a", "x", "made"): 2.0})
    assert joined(page, openmetrics=openmetrics)[0].endswith(b'a{check="x",kind="made"} 2.0\n')
    page.drop("x")
    assert joined(page, openmetrics=openmetrics) == []


def test_two_declarations_of_one_family_must_agree() -> None:
    """Kinds share families such as the certificate's expiry: with the same type and labels, or not at all."""
    page = Exposition(CollectorRegistry())
    page.declare([Head("a", "A."), Head("a", "A, in other words.")])
    with pytest.raises(ValueError, match="a is declared twice"):
        page.declare([Head("a", "A.", labels=("b",))])


def _catalogue(folder: Path) -> str:
    """Every family of every kind and of the runner, a line each: name, type, labels, where from, help."""
    rows = {}
    for head in OF_CHECKS:
        rows[head.name] = _row(head, ("check", "kind", *head.labels), "every check")
    for kind, probe in discover().items():
        for head in map(head_of, probe.families):
            other = rows.get(head.name)
            where = f"{other.split(' | ')[3]}, {kind}" if other else kind
            rows[head.name] = _row(head, ("check", "kind", *head.labels), where)
    for head in OF_SHARES:
        rows[head.name] = _row(head, head.labels, "the runner, where it has a share")
    made = {family.name for family in Made.families}
    for family in parse_text(busy(folder).page().decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if name not in rows.keys() | made:
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            rows[name] = _row(Head(name, family.documentation, family.type), sorted(labels), "the runner")
    return "".join(f"{row}\n" for _, row in sorted(rows.items()))


def _row(head: Head, labels: Iterable[str], where: str) -> str:
    return " | ".join((head.name, head.type, ",".join(labels), where, head.help))


def test_the_catalogue_of_families_is_what_was_promised(tmp_path: Path) -> None:
    """Users script against these names: a change here is a change of a promise, and is made in catalogue.txt as well.

    To take a change over: python -m tests.runner.sinks.test_exposition
    """
    assert _catalogue(tmp_path) == CATALOGUE.read_text()


def test_kinds_agree_on_the_families_that_they_share() -> None:
    """All kinds can stand in one plan, beside what every check has."""
    page = Exposition(Counted().registry)
    for probe in discover().values():
        page.declare(map(head_of, probe.families))


def test_a_name_is_given_once(tmp_path: Path) -> None:
    """Nobody else can register a family of the checks, of a kind that is planned or of the runner; and a kind can't take another's name."""
    metrics = busy(tmp_path)
    for taken in ("probe_success", "probe_made_tokens", "outrider_runs_missed", "log_entries"):
        with pytest.raises(ValueError, match=taken):
            Counter(taken, "Another.", registry=metrics.registry)
    page = Exposition(registry := CollectorRegistry())
    Gauge("a", "A.", registry=registry)
    with pytest.raises(ValueError, match="'a'"):
        page.declare([Head("b", "B."), Head("a", "A.")])
    page.declare([Head("b", "B.", labels=("c",))])


@pytest.mark.monitoring
def test_promtool_finds_nothing_to_say(tmp_path: Path) -> None:
    """Prometheus' own linter takes the page without a word."""
    done = subprocess.run(["promtool", "check", "metrics"], input=busy(tmp_path).page(), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        CATALOGUE.write_text(_catalogue(Path(folder)))
