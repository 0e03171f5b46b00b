"""A world of runners and one store in virtual time, in which a test drops calls, pauses runners and moves clocks."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache

from runner.shares.leases import Leases, Moment, Rules, View

SLOTS = 8
LASTS = 4.0


@dataclass
class Table:
    """What Redis holds, and what its scripts do: runner.shares.scripts, in Python. `now` is its own clock."""

    now: float = 0.0
    leases: dict[int, tuple[str, float]] = field(default_factory=dict)  # by slot: the owner, and when it ends
    runners: dict[str, tuple[float, bool]] = field(default_factory=dict)
    fences: dict[int, int] = field(default_factory=dict)
    slots: int = SLOTS
    lasts: float = LASTS

    def owner(self, slot: int) -> str | None:
        """Who has a lease that hasn't ended."""
        owner, ends = self.leases.get(slot, ("", 0.0))
        return owner if self.now < ends else None

    def renew(self, me: str, claimed: frozenset[int], *, room: bool) -> View:
        """As the script."""
        self.runners[me] = self.now, room
        renewed = frozenset(s for s in range(self.slots) if self.owner(s) == me or (s in claimed and self.owner(s) is None))
        self.leases |= dict.fromkeys(renewed, (me, self.now + self.lasts))
        self.runners = {name: known for name, known in self.runners.items() if self.now - known[0] <= self.lasts}
        free = frozenset(slot for slot in range(self.slots) if self.owner(slot) is None)
        return View(renewed, free, {name: room for name, (_, room) in self.runners.items()})

    def acquire(self, me: str, wanted: frozenset[int]) -> dict[int, int]:
        """As the script."""
        taken = {slot for slot in wanted if self.owner(slot) is None}
        self.leases |= dict.fromkeys(taken, (me, self.now + self.lasts))
        self.fences |= {slot: self.fences.get(slot, 0) + 1 for slot in taken}
        return {slot: self.fences[slot] for slot in taken}

    def release(self, me: str, heirs: Mapping[int, str], *, leaving: bool = False) -> None:
        """As the script."""
        if leaving:
            self.runners.pop(me, None)
        for slot, heir in heirs.items():
            if self.owner(slot) == me:
                self.leases[slot] = heir, self.now + self.lasts if heir else 0.0
                self.fences[slot] = self.fences.get(slot, 0) + bool(heir)


@dataclass
class Node:
    """A runner: its machine's clocks differ from the true time by `ahead`, and run `rate` times as fast."""

    name: str
    table: Table
    ahead: float = 0.0
    rate: float = 1.0
    most: int = 1000
    reply: float = 0.0  # true seconds until a response comes
    paused: float = 0.0  # true time until which it is stopped
    next: float = 0.0  # true time of its next look
    lost: bool = False  # whether its calls get lost
    suspended: float = 0.0  # seconds that its running clock has not counted

    def __post_init__(self) -> None:
        self.leases = Leases(self.name, Rules(self.table.slots, self.table.lasts, self.most))
        self.leases.count(dict.fromkeys(range(self.table.slots), 10))

    def moment(self, true: float) -> Moment:
        """Its clocks at a true time."""
        passed = self.ahead + self.rate * true
        return Moment(passed - self.suspended, passed)

    def holds(self, true: float) -> frozenset[int]:
        """What it would send for: nothing while it is stopped."""
        return self.leases.held(self.moment(true)) if true >= self.paused else frozenset()

    def look(self, true: float) -> None:
        """One round, all of it at this time but for the time that the responses take."""
        self.next = true + self.leases.rules.look / self.rate
        if self.lost:
            self.leases.claims(self.moment(true))
            return
        sent, claimed = self.moment(true), self.leases.claims(self.moment(true))
        view = self.table.renew(self.name, claimed, room=self.leases.has_room)
        now = self.moment(true + self.reply)
        self.leases.renewed(claimed, sent, view, now)
        if wanted := self.leases.to_acquire(sent):
            self.leases.acquired(frozenset(self.table.acquire(self.name, wanted)), sent)
        if given := self.leases.to_release(now):
            self.leases.released(given)
            self.table.release(self.name, given)


@dataclass
class World:
    """Everything, moved in steps of true time."""

    nodes: list[Node]
    table: Table
    true: float = 0.0
    step: float = 0.1
    doubled: float = 0.0  # seconds for which some slot had two holders, in all
    bare: dict[int, float] = field(default_factory=dict)  # by slot: since when nobody holds it
    longest: float = 0.0  # seconds for which a slot had no holder

    def run(self, seconds: float) -> None:
        """Lets time pass, and measures."""
        for _ in range(round(seconds / self.step)):
            self.true += self.step
            self.table.now += self.step
            for node in self.nodes:
                if self.true >= max(node.paused, node.next):
                    node.look(self.true)
            held = [slot for node in self.nodes for slot in node.holds(self.true)]
            self.doubled += self.step * (len(held) > len(set(held)))
            self.bare = {slot: self.bare.get(slot, self.true) for slot in range(self.table.slots) if slot not in held}
            self.longest = max([self.longest, *(self.true - since for since in self.bare.values())])

    def measure(self) -> None:
        """Forgets what was measured so far."""
        self.doubled, self.longest, self.bare = 0.0, 0.0, {}


def world(*, nodes: int = 3, most: int = 1000) -> World:
    """Runners that have settled."""
    return deepcopy(_settled(nodes, most))


@cache
def _settled(nodes: int, most: int) -> World:
    table = Table()
    made = World([Node(f"runner-{number}", table, ahead=1000.0 * number, next=0.3 * number, most=most) for number in range(nodes)], table)
    made.run(10 * LASTS)
    made.measure()
    return made
