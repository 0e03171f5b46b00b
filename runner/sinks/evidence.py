"""The last failures of each check with their evidence, kept apart from passes so that no pass displaces a failure."""

from __future__ import annotations

import heapq
import json
from collections import deque
from dataclasses import replace

from judge.observation import DiagnosisFinding, Observation
from probes.core import Verdict
from runner.config.plan import ByCheck, Plan

_TEXT = 4096  # characters kept of a longer text


class Evidence:
    """A sink that keeps, in memory, a check's last `keep` failures, its last pass and its last unknown run.

    All failures together stay below `most_bytes` of evidence: when they don't fit, the oldest failure of the check with the most
    evidence is dropped first. The long texts of a failure above an eighth of that are cut.
    """

    def __init__(self, keep: int = 20, most_bytes: int = 8 * 2**20) -> None:
        self._keep = keep
        self._most = most_bytes
        self._failures: dict[str, deque[tuple[int, Observation]]] = {}
        self._sizes: dict[str, int] = {}
        self._total = 0
        self._largest: list[tuple[int, str]] = []  # a heap of (-size, check), in which sizes of before are passed over
        self._others: ByCheck[dict[Verdict, Observation]] = ByCheck()

    def __call__(self, seen: Observation) -> None:
        """Keeps a failure, or replaces the last pass or unknown run."""
        if seen.verdict is not Verdict.FAIL:
            self._others.setdefault(seen.check.name, {})[seen.verdict] = seen  # the engine bounds it; it is measured when it is read
            return
        size, kept = _cut(seen, self._most // 8)
        held = self._failures.setdefault(seen.check.name, deque())
        held.append((size, kept))
        self._resize(seen.check.name, size)
        while len(held) > self._keep:
            self._drop_oldest(seen.check.name)
        while self._total > self._most:
            size, name = heapq.heappop(self._largest)
            if self._sizes.get(name) == -size:
                self._drop_oldest(name)

    def found(self, diagnosis: DiagnosisFinding) -> None:
        """Adds the finding of a diagnosis to its failure, if that is still kept."""
        held = self._failures.get(diagnosis.check.name, deque())
        for index, (before, seen) in enumerate(held):
            if seen.trace_id == diagnosis.trace_id:
                text = "; ".join(filter(None, (diagnosis.text, seen.finding)))
                size, joined = _cut(replace(seen, finding=text, evidence={**seen.evidence, "diagnosis": diagnosis.trials}), self._most // 8)
                self._resize(diagnosis.check.name, size - before)
                held[index] = size, joined

    def plan(self, plan: Plan) -> None:
        """Follows a reload: a removed check's evidence is dropped.

        A changed check keeps its failures: each holds its own request and time, and a check is often changed while somebody looks into
        them. Its last pass is dropped: a pass before the change is no pass of the changed check. A restart restores nothing: evidence
        is never written to disk.
        """
        for name in [name for name in self._failures if name not in plan.fingerprints]:
            self._resize(name, -self._sizes[name])
            del self._failures[name], self._sizes[name]
        self._others.plan(plan)

    def failures(self, check: str) -> tuple[Observation, ...]:
        """The failures of a check that are kept, newest first."""
        return tuple(seen for _, seen in reversed(self._failures.get(check, deque())))

    def latest(self, check: str, verdict: Verdict) -> Observation | None:
        """The last pass or the last unknown run, to compare a failure with."""
        seen = self._others.get(check, {}).get(verdict)
        return _cut(seen, self._most // 8)[1] if seen else None

    def _drop_oldest(self, check: str) -> None:
        size, _ = self._failures[check].popleft()
        self._resize(check, -size)

    def _resize(self, check: str, by: int) -> None:
        """Notes that a check's evidence has grown or shrunk. The work doesn't grow with the number of checks that fail."""
        self._sizes[check] = self._sizes.get(check, 0) + by
        self._total += by
        heapq.heappush(self._largest, (-self._sizes[check], check))
        if len(self._largest) > 4 * len(self._sizes) + 64:
            self._largest = [(-size, name) for name, size in self._sizes.items()]
            heapq.heapify(self._largest)


def _size(seen: Observation) -> int:
    """The approximate size of an observation in bytes."""
    return len(json.dumps([seen.message, dict(seen.facts), dict(seen.evidence)], default=str)) + 200 * len(seen.spans) + 500


def _cut(seen: Observation, most: int) -> tuple[int, Observation]:
    """The observation within `most` bytes, and its size: long texts are cut first, then all evidence is dropped."""
    if (size := _size(seen)) <= most:
        return size, seen
    smaller = replace(seen, evidence={key: _short(value) for key, value in seen.evidence.items()}, spans=seen.spans[:100])
    if (size := _size(smaller)) <= most:
        return size, smaller
    note = {"cut": f"{size} bytes of evidence were too much to keep"}
    smaller = replace(smaller, evidence=note, facts={}, message=_short(seen.message), spans=())
    return _size(smaller), smaller


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _TEXT else f"{text[:_TEXT]} ... ({len(text)} characters)"
