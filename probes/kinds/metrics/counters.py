"""Counters between two runs of a check: one that falls without a restart of the process is a fault of the target."""

from __future__ import annotations

from dataclasses import dataclass, field

from probes.kinds.metrics.page import Sample

KEPT = 20  # falls that are kept one by one
_CLOSE = 1.0  # seconds by which the start of one process may differ between two scrapes


@dataclass(slots=True)
class Scrape:
    """The counters of one page, by series, and when its process started in seconds since the epoch."""

    values: dict[int, float] = field(default_factory=dict)
    started: float | None = None


@dataclass(slots=True)
class Comparison:
    """The page that is read now, beside the one before."""

    before: Scrape | None
    now: Scrape = field(default_factory=Scrape)
    falls: list[str] = field(default_factory=list)
    fallen: int = 0
    comparable: int = 0  # counters that were above 0

    def add(self, sample: Sample, *, may_fall: bool) -> None:
        """Compares a sample, if it is one of a counter."""
        family, value = sample.family, sample.value
        if sample.name == "process_start_time_seconds":
            self.now.started = value
        if not _only_grows(sample):
            return
        self.now.values[sample.series] = value
        past = self.before.values.get(sample.series) if self.before else None
        if past is None or may_fall:
            return
        self.comparable += past > 0
        if value < past:
            self.fallen += 1
            if len(self.falls) < KEPT:
                self.falls.append(f"{family.type} {sample} fell from {past:.15g} to {value:.15g}")

    @property
    def restarted(self) -> bool:
        """Whether another process sent this page.

        Its start is in process_start_time_seconds. On a page without that, most of the counters fall together when a process restarts.
        """
        if self.before is None:
            return False
        if self.before.started is not None and self.now.started is not None:
            return abs(self.now.started - self.before.started) > _CLOSE
        return self.fallen * 2 > self.comparable


class Scrapes:
    """The latest page of each check. It is shared by the runs of a wire, and a reload forgets it."""

    def __init__(self) -> None:
        self.latest: dict[str, Scrape] = {}

    def close(self) -> None:
        """Forgets all pages."""
        self.latest.clear()


def _only_grows(sample: Sample) -> bool:
    kind = sample.family.type
    if kind == "counter":
        return not sample.name.endswith("_created")
    return kind in ("histogram", "summary") and sample.name.endswith(("_count", "_bucket"))
