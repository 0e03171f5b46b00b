from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.fields import seconds as read
from probes.text import (
    age,
    ascii_host,
    count,
    did_you_mean,
    exact,
    host_and_port,
    is_address,
    iso,
    latency,
    listed,
    moment,
    one_line,
    setting,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "<0.1 ms"),
        (0.00004, "<0.1 ms"),
        (0.00006, "0.1 ms"),
        (0.0004, "0.4 ms"),
        (0.00994, "9.9 ms"),
        (0.00996, "10 ms"),
        (0.48, "480 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (1.236, "1.24 s"),
        (9.996, "10 s"),
        (75.2, "75 s"),
    ],
)
def test_a_latency_keeps_what_says_something(seconds: float, text: str) -> None:
    """Two to four figures, in the unit that a person expects; never 1000 ms, never 10.00 s."""
    assert latency(seconds) == text


@given(st.floats(0, 1e6))
def test_a_latency_is_within_a_percent_or_a_twentieth_of_a_millisecond(seconds: float) -> None:
    """What is shown is what was measured."""
    text = latency(seconds)
    if text != "<0.1 ms":
        number, unit = text.split()
        assert float(number) * (0.001 if unit == "ms" else 1.0) == pytest.approx(seconds, rel=0.055, abs=0.00005)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "250ms"),
        (0.0015, "1.5ms"),
        (0.9996, "1s"),
        (1, "1s"),
        (5, "5s"),
        (1.5, "1.5s"),
        (60, "1m"),
        (90, "90s"),
        (5400, "90m"),
        (10800, "3h"),
        (2592000, "30d"),
        (1001, "1001s"),
    ],
)
def test_a_setting_is_written_as_in_checks_yaml(seconds: float, text: str) -> None:
    """In the largest unit that leaves no fraction."""
    assert setting(seconds) == text


@given(st.integers(1, 10**7).map(float) | st.sampled_from([0.001, 0.01, 0.25, 0.5, 1.5, 2.5]))
def test_a_setting_can_be_read_again(seconds: float) -> None:
    """checks.yaml takes what is written, and means the same by it."""
    assert read(setting(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (12.4, "12 s"), (59.6, "1 min"), (185, "3 min"), (3600, "1 h"), (7500, "2 h 5 min"), (86400, "1 d"), (277200, "3 d 5 h")],
)
def test_an_age_names_one_or_two_units(seconds: float, text: str) -> None:
    """The largest unit, and the next one where it says more."""
    assert age(seconds) == text


def test_a_count_agrees_with_its_noun() -> None:
    """One check, several checks, thousands with their comma."""
    assert (count(1, "check"), count(0, "check"), count(1204, "check")) == ("1 check", "0 checks", "1,204 checks")
    assert count(2, "dependency", "dependencies") == "2 dependencies"


def test_a_list_reads_as_a_sentence_does() -> None:
    """Commas, an `and`, and of a long list how many more."""
    assert [listed(names) for names in ((), ("a",), ("a", "b"), ("a", "b", "c"))] == ["", "a", "a and b", "a, b and c"]
    assert listed(tuple("abcdef"), 4) == "a, b, c, d and 2 more"
    assert listed(tuple("abcd"), 4) == "a, b, c and d"


def test_a_threshold_keeps_all_its_digits() -> None:
    """It is compared exactly, and shown so."""
    assert [exact(seconds) for seconds in (0.5, 0.0005, 1, 2.25, 1.001)] == ["500 ms", "0.5 ms", "1 s", "2.25 s", "1.001 s"]


def test_moments_are_utc() -> None:
    """ISO 8601 with Z, to the millisecond or as exact as is asked; with its zone for a person."""
    assert moment(1_795_521_600.75) == "2026-11-24 12:00:00 UTC"
    assert iso(1_795_521_600.25) == "2026-11-24T12:00:00.250Z"
    assert iso(1_795_521_600.25, "microseconds") == "2026-11-24T12:00:00.250000Z"


def test_addresses_are_told_from_names() -> None:
    """IPv4, IPv6 and IPv6 with its zone are addresses; an IPv6 address stands in brackets before its port."""
    assert [is_address(host) for host in ("127.0.0.1", "::1", "fe80::1%eth0", "example.com", "1.2.3", "1.2.3.4%x", "[::1]", "")] == [
        True,
        True,
        True,
        False,
        False,
        False,
        False,
        False,
    ]
    assert (host_and_port("::1", 80), host_and_port("example.com", 443)) == ("[::1]:80", "example.com:443")


def test_a_host_has_up_to_254_characters() -> None:
    """A name may have 253 characters and a last dot (RFC 1035, section 2.3.4), and not one more."""
    longest, longer = (".".join(["a" * 63, "b" * 63, "c" * 63, "d" * last]) + "." for last in (61, 62))
    assert (len(longest), len(longer)) == (254, 255)
    assert ascii_host(longest) == longest
    with pytest.raises(ValueError, match="can't be a name"):
        ascii_host(longer)


def test_a_near_word_is_offered() -> None:
    """And none where nothing is near."""
    assert did_you_mean("roundtrip", {"round_trip", "timeout"}) == "; did you mean round_trip?"
    assert did_you_mean("xyz", {"round_trip", "timeout"}) == ""
    assert did_you_mean("x" * 10**6, {"round_trip"}) == ""


def test_the_work_of_looking_for_a_near_word_is_bounded() -> None:
    """Of a word the first hundred characters are compared, and with two thousand others at most: beyond that none is offered."""
    assert did_you_mean("x" * 100 + "y" * 1000, {"x" * 100}) == f"; did you mean {'x' * 100}?"
    others = {str(number) for number in range(1999)}
    assert did_you_mean("roundtrip", {"round_trip", *others}) == "; did you mean round_trip?"
    assert did_you_mean("roundtrip", {"round_trip", "timeout", *others}) == ""


def test_one_line_is_one_line() -> None:
    """Line ends and runs of blanks become one blank."""
    assert one_line(" a\n  b\tc ") == "a b c"
