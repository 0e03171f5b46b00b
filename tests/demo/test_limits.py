from __future__ import annotations

from demo._limits import Daily, Lockout, SlidingWindow
from tests.support.clock import NOON, FakeClock


def test_the_window_slides() -> None:
    """So many in any window: a place is free exactly when the oldest leaves, and a refused one takes none."""
    clock = FakeClock()
    window = SlidingWindow(clock, 2, 60.0)
    assert window.take("a")
    clock.advance(20)
    assert window.take("a")
    assert not window.take("a")
    assert (window.left("a"), window.wait("a")) == (0, 40.0)
    assert window.take("b")
    clock.advance(39.9)
    assert not window.take("a")
    clock.advance(0.1)
    assert window.take("a")


def test_five_failures_lock_for_half_an_hour() -> None:
    """The fifth failure locks; half an hour after it the account is open again."""
    clock = FakeClock()
    lockout = Lockout(clock)
    assert [lockout.failed("me") for _ in range(5)] == [4, 3, 2, 1, 0]
    assert lockout.locked_for("me") == 1800.0
    assert lockout.locked_for("you") == 0.0
    clock.advance(1800)
    assert lockout.locked_for("me") == 0.0


def test_a_good_login_forgets_the_failures() -> None:
    """Four failures and a success leave five attempts."""
    lockout = Lockout(FakeClock())
    for _ in range(4):
        lockout.failed("me")
    lockout.forget("me")
    assert lockout.failed("me") == 4


def test_a_day_is_a_utc_day() -> None:
    """The day's share comes back at midnight UTC, not a day after the first use."""
    clock = FakeClock(now=NOON)
    daily = Daily(clock, 1)
    assert daily.take("me")
    assert not daily.take("me")
    assert daily.wait() == 12 * 3600
    clock.advance(12 * 3600)
    assert daily.take("me")
    assert daily.used("me") == 1
