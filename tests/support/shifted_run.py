"""`outrider run` with a wall clock that is set wrong: python -m tests.support.shifted_run CHECKS.YAML SECONDS."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from runner.clock import SystemClock
from runner.config.read import read_plan
from runner.service.running import running
from runner.service.signals import signals


class WrongClock(SystemClock):
    """The machine's clock, some seconds ahead."""

    def __init__(self, ahead: float) -> None:
        self._ahead = ahead

    def time(self) -> float:
        """Seconds since the epoch, by a clock that is wrong."""
        return time.time() + self._ahead


async def main(config: Path, ahead: float) -> None:
    """Runs until SIGTERM."""
    stop = asyncio.Event()
    load = lambda: read_plan(config, environ=os.environ)  # noqa: E731 - as the command does
    async with running(load, path=config, clock=WrongClock(ahead), version="0", journal=sys.stdout) as (service, listening, reload):
        with signals(stop, reload):
            service.log(20, f"the page is at {listening.url}")
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
