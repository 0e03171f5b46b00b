"""Numbers as a person reads them in a report. Times of day are UTC."""

from __future__ import annotations

from judge.verdict import Outcome
from loadtests.result import LoadReport
from probes.text import exact, latency

WORD = {Outcome.PASS: "met", Outcome.FAIL: "breached", Outcome.INCONCLUSIVE: "not proven"}


def span(seconds: float | None) -> str:
    """How long something took: `0.4 ms`, `480 ms`, `1.24 s`, `75 s`; a dash where nothing did."""
    return "-" if seconds is None else latency(seconds)


def threshold(seconds: float | None) -> str:
    """An SLO's threshold as it was written: `500 ms`, `1 s`."""
    return "" if seconds is None else exact(seconds)


def percent(share: float | None, digits: int = 2) -> str:
    """`96.7 %`: 100 is only written where nothing at all is missing, and 0 where there is nothing at all."""
    if share is None:
        return "-"
    if share in (0.0, 1.0):
        return f"{share:.0%}".replace("%", " %")
    edge = 10.0**-digits
    return f"{min(max(share * 100, edge), 100 - edge):.{digits}f} %"


def percent_of_budget(used: float) -> str:
    """`62 %`, `2000 %`: 100 is only written for a budget that is used up exactly."""
    return percent(used, 0) if used <= 1 else f"{max(101, round(used * 100))} %"


def promise(objective: float) -> str:
    """An objective as it was written: `95 %`, `99.95 %`."""
    return f"{objective * 100:.8g} %"


def rate(per_second: float) -> str:
    """`50/s`, `12.5/s`."""
    return f"{per_second:,.0f}/s" if per_second >= 100 else f"{per_second:.3g}/s"  # noqa: PLR2004 - three digits are enough


def count(number: float) -> str:
    """`12,345`."""
    return f"{number:,.0f}"


def load(report: LoadReport) -> str:
    """What was offered, in a few words: `50/s for 60 s`, `20 users for 60 s`."""
    offered = report.offered
    many = f"{offered.users} users" if offered.arrivals == "closed" else rate(offered.rate)
    shaped = "" if offered.shape == "constant" or offered.arrivals == "closed" else f" ({offered.shape})"
    return f"{many}{shaped} for {duration(offered.duration)}"


def duration(seconds: float) -> str:
    """`60 s`, `5 min`, `1 h 30 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 2:  # noqa: PLR2004 - 90 s says more than 1 min 30 s
        return f"{seconds:.6g} s"
    hours, minutes = divmod(minutes, 60)
    return " ".join(f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if n)


def headline(report: LoadReport) -> str:
    """The verdict as a sentence."""
    sentences = {
        Outcome.PASS: f"{report.scenario} meets its SLOs at {load(report)}",
        Outcome.FAIL: f"{report.scenario} breaches its SLOs at {load(report)}",
        Outcome.INCONCLUSIVE: f"It is not proven whether {report.scenario} meets its SLOs at {load(report)}",
    }
    return sentences[report.verdict]
