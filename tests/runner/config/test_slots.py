"""When a check that comes from another runner runs first here."""

from __future__ import annotations

import pytest

from runner.config.slots import first, slots
from tests.support.observations import NOON, made_check, made_plan


@pytest.mark.parametrize("ahead", [-5.0, 0.0, 5.0])
def test_a_check_that_moves_keeps_its_rhythm(ahead: float) -> None:
    """The runner that had it ran a slot by its own clock. Here it isn't run again, and the next slot isn't missed."""
    (planned,) = made_plan(made_check(interval=30.0)).checks
    after = slots(planned)
    slot = after(NOON)
    ran = slot - ahead  # when the other one's clock said that it is the slot, by this runner's clock
    due = first(planned, after, ran + 1.0, ran, elsewhere=True)
    assert due == slot + 30
    assert first(planned, after, slot - 1.0, slot - 30 - ahead, elsewhere=True) == slot
