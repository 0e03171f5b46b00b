"""WHAT to ask. A kind imports its public names from here; `Kinds` is the only registry of kinds."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
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
    "Kinds",
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


class Kinds(Mapping[str, type[Probe]]):
    """All kinds by name: the public files and folders of `kinds/`, then the entry points of group `outrider.probes`.

    Each is imported when it is asked for, since its libraries take time. Raises TypeError where two kinds have the same name, and
    then where a file or folder doesn't hold exactly one Probe.
    """

    def __init__(self, path: Iterable[str] | None = None, package: str = _KINDS) -> None:
        folders = list(path) if path else [str(Path(__file__).with_name("kinds"))]
        files = sorted(m.name for m in pkgutil.iter_modules(folders) if not m.name.startswith("_"))
        self._load: dict[str, Callable[[], type[Probe]]] = {name: partial(_kind_of, f"{package}.{name}") for name in files}
        for entry in entry_points(group="outrider.probes"):
            if entry.name in files:
                raise TypeError(f"two kinds are called {entry.name}: {package}.{entry.name} and {entry.value}")
            if entry.name in self._load:
                raise TypeError(f"two kinds are called {entry.name}; one of them is {entry.value}")
            self._load[entry.name] = entry.load
        self._loaded: dict[str, type[Probe]] = {}

    def __getitem__(self, name: str) -> type[Probe]:
        if name not in self._loaded:
            self._loaded[name] = self._load[name]()
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._load

    def __iter__(self) -> Iterator[str]:
        return iter(self._load)

    def __len__(self) -> int:
        return len(self._load)


def discover(path: Iterable[str] | None = None, package: str = _KINDS) -> dict[str, type[Probe]]:
    """All of `Kinds`, imported. Raises what it raises."""
    return dict(Kinds(path, package))


def _kind_of(module: str) -> type[Probe]:
    imported = importlib.import_module(module)
    own = [thing for thing in vars(imported).values() if _is_kind(thing) and thing.__module__ == module]
    if len(own) != 1:
        raise TypeError(f"{module} holds {len(own)} kinds; a file or folder of probes/kinds/ is exactly one Probe")
    return own[0]


def _is_kind(thing: object) -> TypeGuard[type[Probe]]:
    return isinstance(thing, type) and issubclass(thing, Probe) and not thing.__name__.startswith("_")
