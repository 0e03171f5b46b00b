"""Which revision answered a run: from its responses themselves, or read just before and after its round."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from judge.observation import Observation
from judge.revision import same_revision
from probes.core import Verdict
from probes.facts import NO_REVISION
from runner.gate.addresses import Engine, GateTarget


class RunRevisions:
    """Reads the revision of targets that tell it by a path of its own. Where no revision is expected, nothing is read."""

    def __init__(self, targets: Sequence[GateTarget], engine: Engine, expect: str) -> None:
        self._targets = [target for target in targets if expect and target.revision and not target.revision.header]
        self._engine = engine
        self._expect = expect
        self._around: dict[str, set[str]] = {}  # by target: what was read before and after the current round
        self._latest: dict[str, str] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """That a revision is read beside the judged answers, which is less than in them."""
        return tuple(
            f"the revision of {one.name} is read before and after each round ({one.revision}), not from the judged responses"
            for one in self._targets
        )

    async def read(self) -> None:
        """Reads once from every target, and adds it to what was read around this round."""
        responses = await asyncio.gather(*(target.ask(self._engine) for target in self._targets))
        for target, response in zip(self._targets, responses, strict=True):
            if response.answered or response.revision:
                self._around.setdefault(target.name, set()).add(response.revision or NO_REVISION)
                self._latest[target.name] = response.revision or NO_REVISION

    def next_round(self) -> None:
        """The reading after the last round is also the reading before the next one."""
        self._around = {name: {latest} for name, latest in self._latest.items()}

    def is_expected(self, revision: str) -> bool:
        """Whether a run with this revision counts: any, where none is expected or none is known."""
        return not self._expect or not revision or same_revision(revision, self._expect)

    def revision_of(self, attempts: Sequence[Observation]) -> str:
        """The revision that answered this run; "" where nothing tells it. Others than the expected one come before it.

        A failure without a revision may come from whatever stands before the application: it is not counted as another release.
        """
        found: list[str] = []
        for seen in attempts:
            own = str(seen.facts["revision"]).split(", ") if "revision" in seen.facts else sorted(self._around.get(seen.check.target, ()))
            found += [one for one in own if one != NO_REVISION or seen.verdict is Verdict.PASS]
        if not self._expect:
            return ", ".join(dict.fromkeys(found))
        others = [one for one in dict.fromkeys(found) if not same_revision(one, self._expect)]
        return ", ".join(others or found[:1])
