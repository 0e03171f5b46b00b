"""The metrics of a runner that has a share of the checks. Names are promises."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from runner.sinks.exposition import Head

OF_EVERY_SHARE = (
    Head("outrider_checks_planned", "Checks of checks.yaml that are on, wherever they run."),
    Head("outrider_checks_held", "Checks that this runner runs."),
)
OF_SHARDS = (
    Head("outrider_shard_ordinal", "The number of this shard, counted from 0."),
    Head("outrider_shards", "How many shards this runner was told that there are."),
    Head("outrider_shard_since_timestamp_seconds", "Since when this runner has been told so, in seconds since the epoch."),
)
OF_LEASES = (
    Head("outrider_lease_slots", "Into how many slots the checks are divided."),
    Head("outrider_lease_slots_held", "Slots that this runner holds by a lease."),
    Head("outrider_lease_store_up", "1 if Redis renewed this runner's leases at the latest try, else 0."),
    Head("outrider_lease_until_timestamp_seconds", "Until when this runner's leases last if none is renewed, in seconds since the epoch."),
    Head("outrider_lease_runners", "Runners that share the checks, as far as this one knows."),
    Head("outrider_lease_slots_moved_total", "Slots that this runner took, gave to another one, or lost.", "counter", ("how",)),
)
FAMILIES = (*OF_EVERY_SHARE, *OF_SHARDS, *OF_LEASES)


def gauges(registry: CollectorRegistry, heads: tuple[Head, ...]) -> dict[str, Gauge]:
    """Registers the gauges among these families, by name; each is 0 until it is set."""
    return {head.name: Gauge(head.name, head.help, registry=registry) for head in heads if head.type == "gauge"}


def counter(registry: CollectorRegistry, head: Head) -> Counter:
    """Registers a counter."""
    return Counter(head.name, head.help, head.labels, registry=registry)
