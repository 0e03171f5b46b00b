"""What a kind can measure: the phases, steps and facts that its metric families read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from probes._core import Probe
from runner.plan.errors import did_you_mean

_STEP = "step."


class _Noted(Mapping[str, Any]):
    """An empty mapping that remembers what it was asked for."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def __getitem__(self, name: str) -> Any:
        self._names.add(name)
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        self._names.add(str(name))
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def known(probe: Probe) -> set[str]:
    """The phases and facts that the kind's families read, and `step.<name>` for each of its steps."""
    names: set[str] = set()
    for family in probe.families:
        list(family.read(_Noted(names), _Noted(names)))
    steps = getattr(probe, "steps", ())
    return names | {f"{_STEP}{step.name}" for step in steps if getattr(step, "name", None)}


def knows(probe: Probe, measure: str) -> str:
    """Why the kind can't fill a measure, or nothing: where it may, or where it declares no families to tell by."""
    names = known(probe)
    if not names or measure in names:
        return ""
    if measure.startswith(_STEP):
        steps = sorted(name for name in names if name.startswith(_STEP))
        return f"and this check has no such step{did_you_mean(measure, steps)}"
    return f"which this kind doesn't measure{did_you_mean(measure, names)}"
