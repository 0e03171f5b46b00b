"""WHAT to ask. A kind imports its public names from here; `discover` is the only registry of kinds."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeGuard

from probes.core import (
    Ask,
    Clock,
    Failed,
    Interval,
    Ledger,
    Measurements,
    PolicyRefused,
    QuotaRefused,
    Reason,
    Result,
    Sender,
    Span,
    Verdict,
)
from probes.families import Family, fact_family, info_family, keyed_family, network_families, phase_family
from probes.fields import Duration, Host, OptionalFile, Percent, Port, Rate, Secret, Size
from probes.probe import Context, Probe
from probes.text import host_and_port

__all__ = [
    "Ask",
    "Clock",
    "Context",
    "Duration",
    "Failed",
    "Family",
    "Host",
    "Interval",
    "Ledger",
    "Measurements",
    "OptionalFile",
    "Percent",
    "PolicyRefused",
    "Port",
    "Probe",
    "QuotaRefused",
    "Rate",
    "Reason",
    "Result",
    "Secret",
    "Sender",
    "Size",
    "Span",
    "Verdict",
    "discover",
    "fact_family",
    "host_and_port",
    "info_family",
    "keyed_family",
    "network_families",
    "phase_family",
]

_KINDS = f"{__name__}.kinds"


def discover(path: Iterable[str] | None = None, package: str = _KINDS) -> dict[str, type[Probe]]:
    """All kinds by name: the public files and folders of `kinds/`, then the entry points of group `outrider.probes`.

    Raises TypeError where a file or folder doesn't hold exactly one Probe, or where two kinds have the same name.
    """
    folders = list(path) if path else [str(Path(__file__).with_name("kinds"))]
    names = sorted(m.name for m in pkgutil.iter_modules(folders) if not m.name.startswith("_"))
    kinds: dict[str, type[Probe]] = {}
    for name in names:
        module = importlib.import_module(f"{package}.{name}")
        own = [thing for thing in vars(module).values() if _is_kind(thing) and thing.__module__ == module.__name__]
        if len(own) != 1:
            raise TypeError(f"{module.__name__} holds {len(own)} kinds; a file or folder of probes/kinds/ is exactly one Probe")
        kinds[name] = own[0]
    for entry in entry_points(group="outrider.probes"):
        if entry.name in kinds:
            raise TypeError(f"two kinds are called {entry.name}: {kinds[entry.name].__module__} and {entry.value}")
        kinds[entry.name] = entry.load()
    return kinds


def _is_kind(thing: object) -> TypeGuard[type[Probe]]:
    return isinstance(thing, type) and issubclass(thing, Probe) and not thing.__name__.startswith("_")
