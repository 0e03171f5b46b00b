"""What to ask: one public file is one kind of check, named as the file; `discover` is the only registry."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from importlib.metadata import entry_points
from types import ModuleType
from typing import TypeGuard

from probes.core import Probe

__all__ = ["Probe", "discover"]


def discover(path: Iterable[str] | None = None, package: str = __name__) -> dict[str, type[Probe]]:
    """Every kind by name: the public modules of this folder, then the entry points of group `outrider.probes`.

    Raises TypeError where a public module holds no Probe or several, or where two kinds have one name.
    """
    names = sorted(m.name for m in pkgutil.iter_modules(list(path or __path__)) if not m.name.startswith("_"))
    kinds = {name: _the_probe_of(importlib.import_module(f"{package}.{name}")) for name in names}
    for entry in entry_points(group="outrider.probes"):
        if entry.name in kinds:
            raise TypeError(f"two kinds are called {entry.name}: probes/{entry.name}.py and {entry.value}")
        kinds[entry.name] = entry.load()
    return kinds


def _the_probe_of(module: ModuleType) -> type[Probe]:
    own = [thing for thing in vars(module).values() if _is_kind(thing) and thing.__module__ == module.__name__]
    if len(own) != 1:
        raise TypeError(f"{module.__name__} holds {len(own)} kinds; a public file of probes/ is exactly one Probe")
    return own[0]


def _is_kind(thing: object) -> TypeGuard[type[Probe]]:
    return isinstance(thing, type) and issubclass(thing, Probe) and not thing.__name__.startswith("_")
