"""Which revision answered a run: told by its answers themselves, or read just before and after its round."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from judge.observation import Observation
from judge.verdict import same_revision
from probes.core import Verdict
from probes.http.session import UNTOLD
from runner.gate.addresses import Observing, Place


class Beside:
    """Reads the revision of the places that tell it by a path of its own. Where nothing is expected, nothing is read."""

    def __init__(self, places: Sequence[Place], observing: Observing, expect: str) -> None:
        self._places = [place for place in places if expect and place.told_by and not place.told_by.header]
        self._observing = observing
        self._expect = expect
        self._read: dict[str, set[str]] = {}  # before and after the round that runs
        self._last: dict[str, str] = {}

    @property
    def said(self) -> tuple[str, ...]:
        """That a revision is read beside the judged answers, which is less than in them."""
        return tuple(
            f"the revision of {place.name} is read before and after each round ({place.told_by}), not from the judged responses"
            for place in self._places
        )

    async def read(self) -> None:
        """Reads once at every place, and adds it to what was read around this round."""
        heard = await asyncio.gather(*(place.ask(self._observing) for place in self._places))
        for place, one in zip(self._places, heard, strict=True):
            if one.revision:
                self._read.setdefault(place.name, set()).add(one.revision)
                self._last[place.name] = one.revision

    def begin(self) -> None:
        """The next round begins: what was read last, after the one before, is what was read before it."""
        self._read = {name: {last} for name, last in self._last.items()}

    def is_expected(self, revision: str) -> bool:
        """Whether a run with this revision counts: any, where none is expected or told."""
        return not self._expect or not revision or same_revision(revision, self._expect)

    def revision_of(self, attempts: Sequence[Observation]) -> str:
        """The revision that answered this run; "" where nothing tells it. A foreign one is told before the expected one.

        A failure without a revision may come from whatever stands before the application, and is no other release's.
        """
        told: list[str] = []
        for seen in attempts:
            own = str(seen.facts["revision"]).split(", ") if "revision" in seen.facts else sorted(self._read.get(seen.check.target, ()))
            told += [one for one in own if one != UNTOLD or seen.verdict is Verdict.PASS]
        strangers = [one for one in dict.fromkeys(told) if not same_revision(one, self._expect)] if self._expect else told
        return ", ".join(strangers or told[:1])
