"""Leases on slots of checks, as a state machine without I/O: what this runner holds, and what it takes, renews and gives away.

The checks are divided into slots by their names. Each slot has one lease in a store that all runners reach. Nobody compares two
clocks: a holder counts from before it sent its latest renewal, by its own clocks, and stops before the store can give the lease to
another one; the others wait until the store says that a slot is free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from runner.config.slots import fraction

SAFE = 0.9  # of a lease: two clocks may differ in rate by a tenth
LOOKS = 4  # renewals within a lease
DEADLINE = 0.2  # of a lease: how long one call to the store may take
_SETTLED = 2  # leases for which the runners have been the same before a slot is given to another one
_AT_ONCE = 8  # one part of so many of the slots is given away at a look


def slot_of(name: str, slots: int) -> int:
    """The slot of a check: everywhere and for ever the same."""
    return int(fraction(name) * slots)


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by two clocks of this machine in seconds: one that stops while the machine is suspended, and one that doesn't."""

    running: float
    passed: float

    def after(self, seconds: float) -> Moment:
        return Moment(self.running + seconds, self.passed + seconds)

    def before(self, other: Moment) -> bool:
        """Whether both clocks say so: unsure means no."""
        return self.running < other.running and self.passed < other.passed


@dataclass(frozen=True, slots=True)
class Rules:
    """How many slots there are, how many seconds a lease lasts, and how many checks one runner takes at most."""

    slots: int
    lasts: float
    most: int

    @property
    def look(self) -> float:
        """Seconds between two renewals."""
        return self.lasts / LOOKS

    @property
    def takeover(self) -> float:
        """Seconds after its runner's death within which a slot is taken over, where a runner has room for it.

        Its lease ends after `lasts`; it is found free at the next look, and taken at the first look that is another `lasts` later.
        """
        return 2 * self.lasts + 2 * self.look


@dataclass(frozen=True, slots=True)
class View:
    """What the store said at a renewal: the slots that it renewed, those that nobody holds, and each runner with whether it has room."""

    renewed: frozenset[int]
    free: frozenset[int]
    runners: Mapping[str, bool]


class Leases:
    """What one runner, `me`, knows of the leases. Every method takes the time as an argument."""

    def __init__(self, me: str, rules: Rules) -> None:
        self.me = me
        self.rules = rules
        self.runners: Mapping[str, bool] = {}
        self._sizes: Mapping[int, int] = {}  # checks by slot
        self._held: dict[int, Moment] = {}  # until when, by slot
        self._free: dict[int, Moment] = {}  # since when they are known to be free, by slot
        self._settled = Moment(0.0, 0.0)  # since when the runners are the same

    def count(self, sizes: Mapping[int, int]) -> None:
        """Takes over how many checks each slot has."""
        self._sizes = sizes

    # What is held

    def holds(self, slot: int, now: Moment) -> bool:
        """Whether this runner holds a slot for sure."""
        end = self._held.get(slot)
        return end is not None and now.before(end)

    def held(self, now: Moment) -> frozenset[int]:
        """The slots that this runner holds for sure."""
        return frozenset(slot for slot in self._held if self.holds(slot, now))

    def until(self, now: Moment) -> float:
        """For how many seconds the last of them is held, if no renewal succeeds."""
        return max((min(end.running - now.running, end.passed - now.passed) for end in self._held.values()), default=0.0)

    @property
    def has_room(self) -> bool:
        """Whether this runner can carry one more slot."""
        return self._load() + max(self._sizes.values(), default=0) <= self.rules.most

    # Renewing

    def claims(self, now: Moment) -> frozenset[int]:
        """What to renew. A lease that has ended by this runner's clocks is not renewed but lost: another runner may have it."""
        self._held = {slot: end for slot, end in self._held.items() if now.before(end)}
        return frozenset(self._held)

    def renewed(self, claimed: frozenset[int], sent: Moment, view: View, now: Moment) -> None:
        """Takes over what the store said. `sent` is before the call was made: a lease began no earlier than that.

        It renews what was claimed, and what this runner has without knowing: what another one gave to it, or what it took by a call
        whose response it never got.
        """
        for slot in claimed - view.renewed:
            self._held.pop(slot, None)
        self._held |= dict.fromkeys(view.renewed, sent.after(SAFE * self.rules.lasts))
        self._free = {slot: self._free.get(slot, now) for slot in view.free}
        if view.runners.keys() != self.runners.keys():
            self._settled = now
        self.runners = view.runners

    # Taking

    def to_acquire(self, sent: Moment) -> frozenset[int]:
        """The free slots to take, by the view of the renewal that was sent then.

        A slot must have been free for a whole lease: a store that has lost its keys gives nothing away that a holder still counts on.
        Of the runners, the one that comes first for the slot takes it; each other one waits one look longer, for those that have no
        room. A runner takes no more checks than it may.
        """
        wanted, load = set(), self._load()
        for slot, since in sorted(self._free.items(), key=lambda item: item[1].running):
            size = self._sizes.get(slot, 0)
            patience = self.rules.lasts + self._rank(slot) * self.rules.look
            if not sent.before(since.after(patience)) and load + size <= self.rules.most:
                wanted.add(slot)
                load += size
        return frozenset(wanted)

    def acquired(self, slots: frozenset[int], sent: Moment) -> None:
        """Holds what the store gave."""
        for slot in slots:
            self._held[slot] = sent.after(SAFE * self.rules.lasts)
            self._free.pop(slot, None)

    # Giving

    def to_release(self, now: Moment) -> Mapping[int, str]:
        """The slots to give to runners that come first for them and have room: a few at a look, if no runner came or went lately."""
        if now.before(self._settled.after(_SETTLED * self.rules.lasts)):
            return {}
        best = {slot: ranked[0] for slot in sorted(self._held) if (ranked := self._ranked(slot))}
        others = [slot for slot, heir in best.items() if heir != self.me and self.runners[heir]]
        return {slot: best[slot] for slot in others[: max(1, self.rules.slots // _AT_ONCE)]}

    def to_leave(self) -> Mapping[int, str]:
        """Every slot, with the first other runner that has room for it; "" for none."""
        others = {slot: [name for name in self._ranked(slot) if name != self.me and self.runners[name]] for slot in self._held}
        return {slot: names[0] if names else "" for slot, names in others.items()}

    def released(self, slots: Iterable[int]) -> None:
        """Doesn't hold these any more: call it before the store is told."""
        for slot in slots:
            self._held.pop(slot, None)

    def _load(self) -> int:
        return sum(self._sizes.get(slot, 0) for slot in self._held)

    def _ranked(self, slot: int) -> list[str]:
        """The runners in their order for a slot: by rendezvous, so that one that comes or goes moves only its own slots."""
        return sorted(self.runners, key=lambda name: blake2b(b"%d\0%s" % (slot, name.encode()), digest_size=8).digest())

    def _rank(self, slot: int) -> int:
        ranked = self._ranked(slot)
        return ranked.index(self.me) if self.me in ranked else len(ranked)
