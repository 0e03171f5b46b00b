"""The leases in virtual time: no slot has two holders, and none is without one for longer than promised."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.shares.leases import Leases, Moment, Rules, slot_of
from tests.support.leasing import LASTS, SLOTS, Node, World, world

TAKEOVER = Rules(SLOTS, LASTS, 1).takeover
STEP = 0.1


def holders(here: World) -> list[set[int]]:
    """What each runner holds."""
    return [set(node.holds(here.true)) for node in here.nodes]


def test_runners_share_the_slots() -> None:
    """In the steady state each slot has one holder, by rendezvous, and nothing moves."""
    here = world()
    assert sum(map(len, holders(here))) == SLOTS
    assert all(holders(here))
    before = holders(here)
    here.run(20 * LASTS)
    assert (holders(here), here.doubled, here.longest) == (before, 0.0, 0.0)


def test_a_dead_runners_slots_are_taken_over() -> None:
    """kill -9: within the time that is promised every slot has a holder again, and the other slots don't move."""
    here = world()
    _, *kept = holders(here)
    here.nodes[0].paused = float("inf")
    here.run(TAKEOVER + STEP)
    assert here.bare == {}
    assert here.longest <= TAKEOVER
    assert all(before <= now for before, now in zip(kept, holders(here)[1:], strict=True))
    assert here.doubled == 0


@pytest.mark.parametrize("suspended", [False, True])
def test_a_runner_that_was_stopped_holds_nothing_when_it_wakes(suspended: bool) -> None:  # noqa: FBT001 - a case
    """SIGSTOP or a suspended machine for longer than a lease: not even the first moment after it belongs to it."""
    here = world()
    node = here.nodes[0]
    node.paused = here.true + 3 * LASTS
    here.run(3 * LASTS - STEP)
    if suspended:
        node.suspended = 3 * LASTS  # the clock that stands still meanwhile says that no time has passed
    assert node.leases.held(node.moment(here.true)) == frozenset()
    here.run(20 * LASTS)
    assert here.doubled == 0
    assert all(holders(here))  # it has its share again


def test_a_store_that_forgets_everything_gives_nothing_away_twice() -> None:
    """A failover to a replica without the leases, FLUSHALL, a restart without a disk: the holders go on, and nobody else takes theirs."""
    here = world()
    before = holders(here)
    for _ in range(5):
        here.table.leases.clear()
        here.table.runners.clear()
        here.run(LASTS * 0.7)
    assert (here.doubled, holders(here)) == (0.0, before)


def test_without_the_store_each_holds_until_its_lease_ends_and_no_longer() -> None:
    """The store is gone for all: what is held is held for less than a lease, and is taken again when the store is back."""
    here = world()
    for node in here.nodes:
        node.lost = True
    here.run(0.5 * LASTS)
    assert sum(map(len, holders(here))) == SLOTS
    here.run(0.5 * LASTS)
    assert sum(map(len, holders(here))) == 0
    for node in here.nodes:
        node.lost = False
    here.run(TAKEOVER)
    assert sum(map(len, holders(here))) == SLOTS
    assert here.doubled == 0


def test_no_runner_takes_more_than_it_can_carry() -> None:
    """Two of three die: the third takes what it has room for, and the rest has no runner rather than none having one soon after."""
    here = world(most=50)
    for node in here.nodes[:2]:
        node.paused = float("inf")
    here.run(10 * LASTS)
    assert len(here.nodes[2].holds(here.true)) == 5  # of 10 checks each
    here.nodes.append(Node("runner-9", here.table, next=here.true, most=50))
    here.run(10 * LASTS)
    assert sum(map(len, holders(here))) == SLOTS


def test_slots_move_to_a_new_runner_a_few_at_a_time() -> None:
    """Nothing moves before the runners have been the same for two leases; then only those slots for which the new one comes first."""
    here = world(nodes=2)
    before = holders(here)
    here.nodes.append(Node("runner-2", here.table, next=here.true))
    here.run(1.9 * LASTS)
    assert holders(here)[:2] == before
    here.run(20 * LASTS)
    after = holders(here)
    assert after[2]
    assert all(now <= was for now, was in zip(after, before, strict=False))
    assert here.doubled == 0
    assert here.longest <= LASTS / 4 + 2 * STEP  # a handover lasts until the new one's next look


def test_a_runner_that_stops_gives_its_slots_away() -> None:
    """SIGTERM: the others go on at their next look, without waiting for a lease to end."""
    here = world()
    node = here.nodes.pop(0)
    given = node.leases.to_leave()
    assert set(given) == set(node.holds(here.true))
    node.leases.released(given)
    here.table.release(node.name, given, leaving=True)
    here.run(LASTS / 4 + 2 * STEP)
    assert sum(map(len, holders(here))) == SLOTS
    assert (here.longest <= LASTS / 4 + 2 * STEP, here.doubled) == (True, 0.0)


def test_a_runner_that_is_full_is_given_nothing() -> None:
    """A slot isn't given to a runner that would not take it: it would only be without one."""
    here = world(nodes=2)
    here.nodes.append(Node("runner-2", here.table, next=here.true, most=5))
    here.run(20 * LASTS)
    assert [here.longest, holders(here)[2]] == [0.0, set()]


class Life:
    """What may happen to a runner or to the store, drawn by hypothesis."""

    def __init__(self, here: World, data: st.DataObject) -> None:
        self.here, self.draw = here, data.draw

    def node(self) -> Node:
        """One of the runners."""
        return self.draw(st.sampled_from(self.here.nodes))

    def pause(self) -> None:
        """A runner stands still for a while, with or without its running clock."""
        node, seconds = self.node(), self.draw(st.floats(0.0, 5 * LASTS))
        node.paused = max(node.paused, self.here.true + seconds)
        if self.draw(st.booleans()):
            node.suspended += seconds * node.rate

    def lose(self) -> None:
        """A runner's calls are lost from now on, or no longer."""
        node = self.node()
        node.lost = not node.lost

    def slow(self) -> None:
        """Responses take longer, within the deadline of a call."""
        self.node().reply = self.draw(st.floats(0.0, 0.2 * LASTS))

    def drift(self) -> None:
        """A clock runs up to a twentieth faster or slower than Redis's."""
        node, true = self.node(), self.here.true
        rate = self.draw(st.floats(0.95, 1.05))
        node.ahead += (node.rate - rate) * true
        node.rate = rate

    def crash(self) -> None:
        """A runner is killed, and started again under another name."""
        node = self.node()
        self.here.nodes[self.here.nodes.index(node)] = Node(
            f"{node.name}'", self.here.table, ahead=self.draw(st.floats(-1e6, 1e6)), next=self.here.true
        )


@given(st.lists(st.tuples(st.sampled_from(["pause", "lose", "slow", "drift", "crash"]), st.floats(0.0, 2 * LASTS)), max_size=8), st.data())
def test_no_slot_ever_has_two_holders(events: list[tuple[str, float]], data: st.DataObject) -> None:
    """Whatever runners and calls suffer: two never hold one slot at once; and when all is well again each slot has its holder soon."""
    here = world()
    here.step = 0.25
    life = Life(here, data)
    for what, seconds in events:
        getattr(life, what)()
        here.run(seconds)
    assert here.doubled == 0
    for node in here.nodes:
        node.lost, node.paused = False, min(node.paused, here.true)
    here.run(TAKEOVER + LASTS)  # a lease may just have begun
    handover = LASTS / 4 / 0.95 + 2 * here.step
    assert all(here.true - since <= handover for since in here.bare.values())
    assert here.doubled == 0


@given(st.lists(st.text(max_size=12), max_size=20), st.integers(64, 256))
def test_a_check_has_one_slot(names: list[str], slots: int) -> None:
    """The same for all runners, and within the slots."""
    assert all(0 <= slot_of(name, slots) < slots for name in names)


@pytest.mark.parametrize(("running", "passed", "held"), [(8.9, 8.9, True), (9.1, 8.9, False), (8.9, 9.1, False), (0.0, 30.0, False)])
def test_both_clocks_must_say_that_the_lease_lasts(running: float, passed: float, held: bool) -> None:  # noqa: FBT001 - a result
    """A lease of 10 s is held for 9 s from before it was asked for, by both clocks: one stands still in a suspend, one doesn't."""
    leases = Leases("me", Rules(64, 10.0, 1000))
    leases.acquired(frozenset({3}), Moment(0.0, 0.0))
    assert leases.holds(3, Moment(running, passed)) is held
    assert leases.holds(4, Moment(0.0, 0.0)) is False
    settings: dict[str, Any] = {"running": running, "passed": passed}
    assert (3 in leases.claims(Moment(**settings))) is held
