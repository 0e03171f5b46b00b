"""The notebook of a run: what its phases add up to, and where it stood when it was cut short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.core import SPANS
from probes.probe import Context
from probes.wire.wire import Wire
from tests.support.context import make_context

MOMENTS = st.integers(0, 1000)
STRETCHES = st.lists(st.tuples(MOMENTS, MOMENTS).map(sorted), max_size=12)


def noted(stretches: list[list[int]]) -> Context:
    """A context with these stretches, milliseconds from its start."""
    ctx = make_context(Wire())
    for start, end in stretches:
        ctx.mark("phase", ctx.started + start / 1000, ctx.started + end / 1000)
    return ctx


@given(STRETCHES)
def test_the_time_waited_is_that_of_all_phases_together(stretches: list[list[int]]) -> None:
    """Overlapping phases count once, gaps between them don't count: the naive count of milliseconds agrees."""
    naive = len({ms for start, end in stretches for ms in range(start, end)})

    assert noted(stretches).waited == pytest.approx(naive / 1000, abs=1e-6)


def test_phases_of_one_name_add_up_in_the_order_in_which_they_began() -> None:
    """Hops and steps share their phases' names."""
    ctx = make_context(Wire())
    ctx.mark("connect", ctx.started + 0.2, ctx.started + 0.3)
    ctx.mark("resolve", ctx.started, ctx.started + 0.2)
    ctx.mark("connect", ctx.started + 0.5, ctx.started + 0.75)

    assert list(ctx.phases) == ["resolve", "connect"]
    assert ctx.phases["connect"] == pytest.approx(0.35)


def test_a_run_that_is_cut_short_says_where_it_stood() -> None:
    """The innermost phase that an exception left, and the step; the phase's time is kept."""
    ctx = make_context(Wire())
    ctx.step = "login"
    with pytest.raises(TimeoutError), ctx.phase("request"), ctx.phase("tls"):
        raise TimeoutError
    ctx.step = "after"

    assert (ctx.halted_in, ctx.halted_step) == ("tls", "login")
    assert set(ctx.phases) == {"request", "tls"}


def test_what_comes_in_single_bytes_is_bounded() -> None:
    """XB2: a server that sends single bytes makes a phase of each; their seconds add up, and their number is bounded."""
    ctx = make_context(Wire())
    for number in range(5 * SPANS):
        ctx.mark("transfer", ctx.started + number, ctx.started + number + 0.5)
    assert len(ctx.spans) == SPANS
    assert ctx.phases == {"transfer": 2.5 * SPANS}
    ctx.mark("close", ctx.started + 5 * SPANS, ctx.started + 5 * SPANS + 1)
    assert ctx.spans[-1].name == "close"
