"""The short form of benchmarks/soak.py: a runner at a steady rate doesn't grow."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_runner_does_not_grow() -> None:
    """Memory, sockets, files, tasks and threads of `outrider run` stay as they are through 3,600 runs and its scrapes."""
    options = ("--rate", "60", "--interval", "1", "--seconds", "60", "--samples", "6")
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.soak", *options, cwd=ROOT, stdout=PIPE, stderr=STDOUT)
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
