"""Burn rates, against the SRE Workbook's own table and by their properties."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge.burn import LEAST, RUNS, burns, interval_ranges, windows
from judge.observation import Slo

DAY = 86400.0
OBJECTIVES = st.decimals("0.5", "0.9999", places=4)


def slo(objective: str | Decimal, days: float = 30) -> Slo:
    """An SLO of this objective and period."""
    return Slo("availability", Decimal(objective), days * DAY)


def test_the_workbooks_table() -> None:
    """Table 5-8 of the SRE Workbook for 99.9 % over 30 days, and the ticket of a day from its PromQL."""
    found = [(one.page, one.long, one.short, str(one.rate.normalize()), one.ratio) for one in burns(slo("0.999"), 15)]
    assert found == [
        (True, 3600, 300, "14.4", Decimal("0.0144")),
        (True, 21600, 1800, "6", Decimal("0.006")),
        (False, 86400, 7200, "3", Decimal("0.003")),
        (False, 259200, 21600, "1", Decimal("0.001")),
    ]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [("0.999", [4, 3, 3, 3]), ("0.995", [18, 9, 5, 3]), ("0.99", [35, 18, 9, 3]), ("0.9", [])],
)
def test_failed_runs_until_the_first_page(objective: str, expected: list[int]) -> None:
    """The failed runs of an hour that make the first page, every 15 s, 30 s, 60 s and 5 min: the known figures, but never below three."""
    hours = [(interval, one) for interval in (15, 30, 60, 300) for one in burns(slo(objective), interval) if one.long == 3600]
    assert [one.failures(interval) for interval, one in hours] == expected


def test_a_check_every_three_hours_has_windows_of_its_own() -> None:
    """No window of an hour can judge it: what is left is the longest, with a day as the short one."""
    [only] = burns(slo("0.99"), 3 * 3600)
    assert (only.page, only.long, only.short) == (False, 259200, 86400)


@given(objective=OBJECTIVES, days=st.sampled_from([1, 7, 28, 30, 90]), interval=st.integers(1, 86400))
def test_what_can_hold_is_what_is_left(objective: Decimal, days: int, interval: int) -> None:
    """Each condition can be met, its short window holds four runs, and it stands for the share of the budget that it says, exactly."""
    one_slo = slo(objective, days)
    for one in burns(one_slo, interval):
        assert 0 < one.ratio < 1
        assert RUNS * interval <= one.short <= one.long / 2
        assert one.rate * one.long == one.share * Decimal(one_slo.window)
        assert {one.long, one.short} <= set(windows(one_slo))
        needed = one.failures(interval)
        assert needed is None or LEAST <= needed <= one.long / interval
        if needed and needed > LEAST:
            assert (needed - 1) * interval <= one.ratio * one.long < needed * interval


@given(objective=OBJECTIVES, days=st.sampled_from([1, 7, 28, 30, 90]), interval=st.floats(1, DAY))
def test_each_interval_is_in_one_range_and_shares_its_windows(objective: Decimal, days: int, interval: float) -> None:
    """The ranges leave no gap and don't overlap; a rule for the longest interval of a range serves all of it, and none is left above."""
    one_slo = slo(objective, days)
    found = [one for one in interval_ranges(one_slo) if one.above < interval <= one.most]
    ranges = interval_ranges(one_slo)
    assert len(found) == (bool(ranges) and interval <= ranges[-1].most)
    assert len({burns(one_slo, one.most) for one in ranges}) == len(ranges)
    assert burns(one_slo, interval) == (burns(one_slo, found[0].most) if found else ())
