"""What a kind can measure: the phases, steps and facts that its metric families read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from probes.probe import Probe
from probes.text import did_you_mean

_STEP = "step."


class _NamesAsked(Mapping[str, Any]):
    """An empty mapping that notes the names that it was asked for."""

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


def why_unmeasured(probe: Probe, measure: str) -> str:
    """Why the kind can't fill a measure: it is no phase or fact that its families read, and no step of the check.

    Nothing where it can, or where nobody can know before a run.
    """
    names: set[str] = set()
    for family in probe.families:
        with suppress(KeyError):  # it reads what it takes for granted: the name is noted
            list(family.read(_NamesAsked(names), _NamesAsked(names)))
    names |= {f"{_STEP}{name}" for name in probe.step_names()}
    if not names or measure in names:
        return ""
    if not measure.startswith(_STEP):
        return f"but this kind doesn't measure it{did_you_mean(measure, names)}"
    steps = [name for name in names if name.startswith(_STEP)]
    if not steps and any("step" in family.labels for family in probe.families):
        return ""  # its steps have names that no setting gives
    return f"but this check has no such step{did_you_mean(measure, steps)}"
