"""Coverage-guided fuzzing of what reads the bytes of others, in processes of their own."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.budget import TARGETS, share
from tests.faults.parsers import PARSERS
from tests.faults.replies import REPLIES

ROOT = Path(__file__).parents[2]
HAS_WHEELS = (platform.system(), platform.machine()) == ("Linux", "x86_64")
START = 120  # seconds in which modules are instrumented, on a machine that is busy
FOUND = {  # what the fuzzer has found, and what is right since
    "yaml": (b"a: &a 1\n\rb:\n  a: &x {c, s",),
    "json-path": (b"$[?match(1e999)]\n{}", b"$[?@.a > 1e999]\n{}"),
}


def test_the_time_is_shared_among_all_targets() -> None:
    """Each way of asking and each parser has its share."""
    assert len(REPLIES) + len(PARSERS) == TARGETS


@pytest.mark.parametrize("name", PARSERS)
def test_seeds_and_findings(name: str) -> None:
    """W1, S9: what the fuzzer begins with, and what it has found, is read or refused."""
    for data in (*PARSERS[name].seeds, *FOUND.get(name, ())):
        PARSERS[name](data)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PARSERS)
def test_no_bytes_break_a_parser(name: str, tmp_path: Path) -> None:
    """W1, XM8, S9: atheris looks for bytes that a parser neither reads nor refuses, that take ten seconds, or 512 MiB of memory."""
    if importlib.util.find_spec("atheris") is None:
        assert not (HAS_WHEELS and os.environ.get("CI") == "true"), "CI fuzzes: atheris is missing"
        pytest.skip("NOTHING IS FUZZED HERE: atheris is not installed; it has wheels for Linux on x86-64 alone")
    words = (sys.executable, "-m", "tests.faults.fuzz", name, str(max(1, round(share()))), str(tmp_path))
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=share() + START, check=False)
    found = [file.read_bytes() for file in tmp_path.glob("found-*")]
    assert done.returncode == 0, f"{found}\n{done.stderr[-4000:]}"
    assert "Done " in done.stderr
