"""The metric families that kinds declare: name, help text, and how a run's phases and facts become samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from probes.facts import DNS_LOOKUP, IP_PROTOCOL

Samples = Iterable[tuple[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family that a kind fills, with `labels` in addition to `check` and `kind`.

    `read` takes a run's phases and facts and yields (label values, value). A counter's values are added up.
    """

    name: str
    help: str
    read: Callable[[Mapping[str, float], Mapping[str, Any]], Samples]
    labels: tuple[str, ...] = ()
    type: str = "gauge"


def phase_family(name: str, help: str, *phases: str) -> Family:  # noqa: A002 - the exposition format's word
    """The seconds of each of these phases, by label `phase`; a phase that the run didn't reach is absent."""
    return Family(name, help, lambda reached, _: [((p,), reached[p]) for p in phases if p in reached], ("phase",))


def fact_family(name: str, help: str, fact: str, type: str = "gauge") -> Family:  # noqa: A002 - as above
    """The value of one fact, a number or a bool; absent where the run didn't record it."""
    return Family(name, help, lambda _, facts: [((), float(facts[fact]))] if facts.get(fact) is not None else [], (), type)


def info_family(name: str, help: str, **labels: str) -> Family:  # noqa: A002 - as above
    """Value 1 with facts as labels (label=fact name); absent until all of them are known."""

    def read(_: Mapping[str, float], facts: Mapping[str, Any]) -> Samples:
        known = [facts.get(fact) for fact in labels.values()]
        return [] if None in known else [(tuple(map(str, known)), 1.0)]

    return Family(name, help, read, tuple(labels))


def keyed_family(name: str, help: str, prefix: str, label: str) -> Family:  # noqa: A002 - as above
    """Facts named `<prefix>.<key>`, one sample a key: {"step.login": 0.2} becomes {step="login"} 0.2."""
    start = f"{prefix}."
    return Family(name, help, lambda _, facts: [((k[len(start) :],), float(v)) for k, v in facts.items() if k.startswith(start)], (label,))


def network_families() -> tuple[Family, ...]:
    """The families of every kind that opens a connection: the seconds of resolving, and the address family."""
    return (
        fact_family("probe_dns_lookup_time_seconds", "Seconds that resolving the name took", DNS_LOOKUP),
        fact_family("probe_ip_protocol", "4 or 6: the address family that was connected to", IP_PROTOCOL),
    )


def cleanup_family() -> Family:
    """The counter of a kind that cleans up after the verdict."""
    return fact_family(
        "probe_cleanup_failures_total", "Runs whose clean-up failed (steps with `always`, releases)", "cleanup_failures", "counter"
    )
