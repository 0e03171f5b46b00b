"""Makes the contexts of runs, over the wire, ledger and clock of one plan."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from probes.core import Clock, Ledger, Sender
from probes.probe import Context
from probes.wire.wire import Wire
from runner.config.plan import Planned


class Contexts:
    """The contexts of one plan's runs. They share nothing but the wire, the ledger and the clock."""

    def __init__(self, wire: Wire, ledger: Ledger, clock: Clock, rng: random.Random, version: str) -> None:
        self._wire = wire
        self._ledger = ledger
        self._clock = clock
        self._rng = rng
        self._ids = random.Random(rng.getrandbits(256))  # noqa: S311 - ids are no secrets, and the system's generator is a system call
        self._version = version

    def of_check(self, planned: Planned, permit: Callable[[str, str], Awaitable[None]]) -> Context:
        """A context for a run of a check. Its deadline is the check's timeout from now."""
        ctx = self._make(planned.check.name, permit, self._clock.monotonic() + planned.timeout)
        ctx.revision = planned.target.revision if planned.target else None
        return ctx

    def unlimited(self, name: str, deadline: float) -> Context:
        """A context for a request of the runner's own (to a reference, or a trial connection), which counts against no limit.

        `deadline` is a time of the clock's `monotonic`.
        """

        async def allow(method: str, url: str) -> None:
            """Permits every request: the plan itself names the address."""

        return self._make(name, allow, deadline)

    def _make(self, name: str, permit: Callable[[str, str], Awaitable[None]], deadline: float) -> Context:
        number = self._ids.getrandbits(128) & ~(0xF000C << 60) | 0x40008 << 60  # version 4 of RFC 9562, 5.4
        trace = f"{number:032x}"
        sender = Sender(
            user_agent=f"Outrider/{self._version} (check {name}; +synthetic monitoring)",
            trace_id=trace,
            span_id=f"{self._ids.getrandbits(64) or 1:016x}",
            request_id=f"{trace[:8]}-{trace[8:12]}-{trace[12:16]}-{trace[16:20]}-{trace[20:]}",
        )
        return Context(
            check=name,
            wire=self._wire,
            clock=self._clock,
            ledger=self._ledger,
            sender=sender,
            permit=permit,
            deadline=deadline,
            rng=self._rng,
        )
