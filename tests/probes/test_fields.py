"""Units: what is read, what is refused, and in which words."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.fields import Rate, percent, positive_seconds, seconds, size


@pytest.mark.parametrize(
    ("text", "value"), [("250ms", 0.25), ("5s", 5.0), ("1m30s", 90.0), ("2h", 7200.0), ("30d", 2592000.0), ("1w", 604800.0), ("0.5s", 0.5)]
)
def test_durations_are_seconds(text: str, value: float) -> None:
    """A duration may join several units."""
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (5, "5 has no unit; write 5s"),
        ("5", "5 has no unit; write 5s"),
        ("5x", "is no duration"),
        (True, "with its unit"),
        ([], "with its unit"),
    ],
)
def test_a_duration_without_a_unit_says_what_to_write(text: object, words: str) -> None:
    """The message holds the mended value."""
    with pytest.raises(ValueError, match=words):
        seconds(text)


def test_nothing_takes_no_time() -> None:
    """Zero is no duration for an interval or a timeout."""
    with pytest.raises(ValueError, match="longer than 0s"):
        positive_seconds("0s")


@given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_duration_is_exact(amount: int, unit: str) -> None:
    """Nothing is rounded: the value is the decimal product."""
    each = Decimal({"ms": "0.001", "s": "1", "m": "60", "h": "3600", "d": "86400"}[unit])

    assert seconds(f"{amount}{unit}") == float(amount * each)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    """Whatever is written, the answer is a value or a ValueError: never another exception."""
    for read in (seconds, size, percent, Rate.parse):
        with suppress(ValueError):
            read(text)


@pytest.mark.parametrize(("text", "value"), [("64KiB", 65536), ("1MB", 1_000_000), ("0.5 kB", 500), ("7B", 7)])
def test_sizes_are_bytes(text: str, value: int) -> None:
    """KB is a thousand bytes, KiB 1,024."""
    assert size(text) == value


@pytest.mark.parametrize(("text", "value"), [("99.9%", Decimal("0.999")), ("95 %", Decimal("0.95")), ("100%", Decimal(1))])
def test_percentages_are_exact_shares(text: str, value: Decimal) -> None:
    """99.9 % is 0.999 and not 0.9990000000000001."""
    assert percent(text) == value


@pytest.mark.parametrize(
    ("read", "text", "words"), [(percent, 99.9, "write 99.9%"), (percent, "101%", "above 100%"), (size, 5, "write 5B")]
)
def test_a_bare_number_says_what_to_write(read: object, text: object, words: str) -> None:
    """The message holds the mended value."""
    with pytest.raises(ValueError, match=words):
        read(text)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "rate"),
    [("900/1h", Rate(900, 3600)), ("20/s", Rate(20, 1)), ("0.50 USD/1d", Rate(0.5, 86400, "USD")), ("1000/30m", Rate(1000, 1800))],
)
def test_rates_are_an_amount_in_a_time(text: str, rate: Rate) -> None:
    """A currency is kept as the unit."""
    assert Rate.parse(text) == rate
