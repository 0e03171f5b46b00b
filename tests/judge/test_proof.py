"""What is said of an SLO promises no more than was proven."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from judge.proof import prove
from tests.support.observations import P95, made_check

API = made_check("api", slos=(P95,))


@given(st.integers(1, 3000), st.integers(0, 400))
def test_a_bound_is_rounded_to_the_side_that_promises_less(good: int, bad: int) -> None:
    """A lower bound of 95.86 % reads 95.8 %, an upper one of 92.03 % reads 92.1 %; neither is off by a tenth of a percent."""
    [proof] = prove([(API, P95, good, good + bad)], 0.95)
    said = re.search(r"at (most|least) ([0-9.]+) %", proof.sentence())
    assert (said is not None) == proof.decided
    if said and proof.broken:
        assert proof.upper * 100 <= float(said[2]) < proof.upper * 100 + 0.1
    elif said:
        assert proof.lower * 100 - 0.1 < float(said[2]) <= proof.lower * 100


def test_what_is_nearly_a_tenth_more_is_not_said() -> None:
    """149 of 151 prove at least 95.889 %: that is 95.8 %, and not 95.9 %."""
    [proof] = prove([(API, P95, 149, 151)], 0.95)
    assert "(98.7 %, at least 95.8 % with 95 % confidence); met" in proof.sentence()
