"""Secrets of any size and number: found, quickly, in bounded memory, and never on standard error."""

from __future__ import annotations

import base64
import json
import random
import time
import tracemalloc

import pytest

from judge.redact import REPLACEMENT, Redactor

WORDS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"


def made(length: int, seed: int = 1) -> str:
    """A secret of this length, the same for the same seed."""
    return "".join(random.Random(seed).choices(WORDS, k=length))  # noqa: S311 - a test's


@pytest.mark.parametrize("size", [100, 300, 5_000, 60_000, 700_000])
def test_a_large_secret_is_found_whole_in_part_and_escaped(size: int, capfd: pytest.CaptureFixture[str]) -> None:
    """XM5: a token of 700 KB is a secret like any other, its pieces too, and nothing of it is on standard error."""
    secret = made(size)
    redactor = Redactor({secret})
    part = secret[17 : 17 + min(2000, size - 20)]
    for text in (secret[:40_000], part, json.dumps({"t": part}), base64.b64encode(part.encode()).decode(), part.encode().hex()):
        redacted = redactor.text(f"<< {text} >>")
        assert REPLACEMENT in redacted
        assert redacted.startswith(("<< ", '<< {"t"'))
        assert len(redacted) < 80
    assert capfd.readouterr().err == ""


def test_a_large_file_with_lines_is_found_line_by_line() -> None:
    """XM5: of a file of 600 KB, a line in its middle."""
    lines = [made(76, seed) for seed in range(8000)]
    redactor = Redactor({"\n".join(lines)})
    assert redactor.text(f"key: {lines[10]}") == f"key: {REPLACEMENT}"
    assert redactor.text(f"key: {lines[7000]}") == f"key: {REPLACEMENT}"


def test_many_secrets_of_a_kind_compile(capfd: pytest.CaptureFixture[str]) -> None:
    """XM5: RE2 is never given a pattern that it refuses, and would say so on standard error."""
    many = {made(length, seed) for seed in range(400) for length in (90, 200)}
    redactor = Redactor(many)
    for secret in sorted(many)[::100]:
        assert redactor.text(f"a {secret} b") == f"a {REPLACEMENT} b"
    assert capfd.readouterr().err == ""


def test_what_is_made_for_a_secret_is_a_small_multiple_of_it() -> None:
    """XM6: forty cookies of 1.4 KB take less than a megabyte, and `size` says about how much."""
    cookies = {made(1400, seed) for seed in range(40)}
    tracemalloc.start()
    try:
        redactor = Redactor(cookies)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 1_500_000
    assert taken / 4 < redactor.known[-1].size < taken * 4


def test_making_one_for_a_run_costs_what_the_run_has_learnt() -> None:
    """XM6: the plan's secrets are not prepared again for each run."""
    plan = Redactor({made(200, seed) for seed in range(1000)})
    learnt = [made(300, 5000 + seed) for seed in range(20)]
    started = time.process_time()
    runs = [Redactor({secret}, plan.known) for secret in learnt]
    assert time.process_time() - started < 1.0
    assert all(one.known[:-1] == plan.known for one in runs)
    assert runs[-1].text(f"{learnt[-1]}, {made(200, 7)}") == f"{REPLACEMENT}, {REPLACEMENT}"
