"""The last failures of each check with their evidence, kept apart from successes so that no success pushes one out."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Container, Iterable
from dataclasses import replace

from judge.observation import DiagnosisFinding, Observation
from probes.core import Verdict
from runner.config.plan import ByCheck, Plan

_TEXT = 4096  # characters kept of a text that is too long to keep whole


class Evidence:
    """A sink that keeps, in memory, a check's last `keep` failures, its last pass and its last run that couldn't tell.

    All failures together stay below `most_bytes` of evidence: when they don't fit, the check that holds most gives up its
    oldest first. Of one failure above an eighth of that, long texts are cut.
    """

    def __init__(self, keep: int = 20, most_bytes: int = 8 * 2**20) -> None:
        self._keep = keep
        self._most = most_bytes
        self._failures: dict[str, deque[tuple[int, Observation]]] = {}
        self._sizes: dict[str, int] = {}
        self._others: ByCheck[dict[Verdict, Observation]] = ByCheck()

    def __call__(self, seen: Observation) -> None:
        """Keeps a failure, or replaces the last pass."""
        if seen.verdict is not Verdict.FAIL:
            self._others.setdefault(seen.check.name, {})[seen.verdict] = _cut(seen, self._most // 8)[1]
            return
        size, kept = _cut(seen, self._most // 8)
        held = self._failures.setdefault(seen.check.name, deque())
        held.append((size, kept))
        self._sizes[seen.check.name] = self._sizes.get(seen.check.name, 0) + size
        while len(held) > self._keep:
            self._let_go(seen.check.name)
        while sum(self._sizes.values()) > self._most:
            self._let_go(max(self._sizes, key=self._sizes.__getitem__))

    def found(self, told: DiagnosisFinding) -> None:
        """Joins what a diagnosis found to the failure that it is about, where that is still kept."""
        held = self._failures.get(told.check.name, deque())
        for place, (before, seen) in enumerate(held):
            if seen.trace_id == told.trace_id:
                said = "; ".join(filter(None, (told.text, seen.finding)))
                size, joined = _cut(replace(seen, finding=said, evidence={**seen.evidence, "diagnosis": told.trials}), self._most // 8)
                self._sizes[told.check.name] += size - before
                held[place] = size, joined

    def plan(self, plan: Plan) -> None:
        """Follows a reload: a removed check's evidence goes.

        A changed check keeps its failures: each says for itself what was asked and when, and a check is often changed while somebody
        looks into them. What they are held against goes: a pass of the check before the change is no pass of this one. A restart
        restores nothing: evidence is written to no disk.
        """
        for name in _without(self._failures, plan.fingerprints):
            del self._failures[name], self._sizes[name]
        self._others.plan(plan)

    def failures(self, check: str) -> tuple[Observation, ...]:
        """The failures that are kept, newest first."""
        return tuple(seen for _, seen in reversed(self._failures.get(check, deque())))

    def latest(self, check: str, verdict: Verdict) -> Observation | None:
        """The last pass, or the last run that couldn't tell: what to hold a failure against."""
        return self._others.get(check, {}).get(verdict)

    def _let_go(self, check: str) -> None:
        size, _ = self._failures[check].popleft()
        self._sizes[check] -= size


def _without(names: Iterable[str], wanted: Container[str]) -> list[str]:
    return [name for name in names if name not in wanted]


def _size(seen: Observation) -> int:
    """About how many bytes an observation takes."""
    return len(json.dumps([seen.message, dict(seen.facts), dict(seen.evidence)], default=str)) + 200 * len(seen.spans) + 500


def _cut(seen: Observation, most: int) -> tuple[int, Observation]:
    """The observation within so many bytes, and its size: long texts cut first, then all evidence but a word of it."""
    if (size := _size(seen)) <= most:
        return size, seen
    smaller = replace(seen, evidence={key: _short(value) for key, value in seen.evidence.items()}, spans=seen.spans[:100])
    if (size := _size(smaller)) <= most:
        return size, smaller
    word = {"cut": f"{size} bytes of evidence were too much to keep"}
    smaller = replace(smaller, evidence=word, facts={}, message=_short(seen.message), spans=())
    return _size(smaller), smaller


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _TEXT else f"{text[:_TEXT]} ... ({len(text)} characters)"
