"""What a kind of check is, and what one run of it is handed."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from probes.core import Ask, Clock, Ledger, Measurements, Reason, Result, Sender
from probes.families import Family
from probes.journeys.script import Script
from probes.target import Target
from probes.wire.endpoint import Endpoint, Variation
from probes.wire.wire import Wire


class Context(Measurements):
    """What one run is handed, and where it keeps what it measures."""

    def __init__(
        self,
        *,
        check: str,
        wire: Wire,
        clock: Clock,
        ledger: Ledger,
        sender: Sender,
        permit: Callable[[str, str], Awaitable[None]],
        deadline: float,
        rng: random.Random,
    ) -> None:
        super().__init__(clock, deadline)
        self.check = check
        self.wire = wire
        self.ledger = ledger
        self.sender = sender
        self.permit = permit  # awaited with (method, url) before every send; raises PolicyRefused or QuotaRefused
        self.rng = rng
        self.revision_header = ""  # in which the target tells which build answers; "": it doesn't
        self.secrets: set[str] = set()  # values learnt in this run (a captured token): redacted like those of the configuration

    def side_context(self, *, permit: Callable[[str, str], Awaitable[None]] | None = None, deadline: float | None = None) -> Context:
        """A context for a side request of the same run: what it measures is kept apart from what the run measures of its target."""
        return Context(
            check=self.check,
            wire=self.wire,
            clock=self.clock,
            ledger=self.ledger,
            sender=self.sender,
            permit=permit or self.permit,
            deadline=self.deadline if deadline is None else deadline,
            rng=self.rng,
        )

    def conceal(self, secret: str) -> str:
        """Marks a value learnt in this run as a secret, and returns it."""
        self.secrets.add(secret)
        return secret


class Probe(BaseModel, ABC):
    """A kind: its settings and its asking, together. One public file in `probes/` is one kind, named as the file.

    Frozen; unknown keys are errors. `run` lets network errors and timeouts escape: runner.engine.execute alone makes
    verdicts of exceptions. `Failed` says that the target is unwell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    examples: ClassVar[tuple[dict[str, Any], ...]] = ()
    families: ClassVar[tuple[Family, ...]] = ()
    errors: ClassVar[dict[type[Exception], Reason]] = {}  # what its libraries raise; the engine knows OSError, ssl and timeouts

    scripted: ClassVar[bool] = False  # whether its checks have a script, which a load can play

    def goes_to(self) -> Target | None:
        """The target under `targets:` that it asks; None for an address of its own."""
        return None

    def step_names(self) -> tuple[str, ...]:
        """The steps whose seconds it notes as facts `step.<name>`: an SLO may measure one."""
        return ()

    def script(self) -> Script | None:
        """What it sends step by step, for a load to play; None for a kind without steps."""
        return None

    def asks(self) -> tuple[Ask, ...]:
        """The HTTP requests that one run may send, redirects aside."""
        return ()

    def part_names(self) -> tuple[str, ...]:
        """The parts that every Result of this check carries (observations of their own, `check/part`)."""
        return ()

    def part_compares(self) -> Mapping[str, str]:
        """For a part, the check that measures the same by itself (`compare_with`)."""
        return {}

    def afterwards(self) -> float:
        """Seconds of its own that a run may take after its verdict or its deadline, to leave in order."""
        return 0.0

    def repeatable(self) -> bool:
        """Whether all of it may be asked again at once: it sends nothing but GET, HEAD and OPTIONS, logs nobody in, costs nothing."""
        return all(ask.method in ("GET", "HEAD", "OPTIONS") for ask in self.asks())

    def endpoint(self) -> Endpoint | None:
        """Where its connection goes, for a diagnosis of a failed run; None where there is nothing to try."""
        return None

    def varied(self, variation: Variation) -> Probe | None:  # noqa: ARG002 - what a kind that can is handed
        """The same asking with one thing changed; None where its kind can't, or mustn't be asked twice."""
        return None

    @abstractmethod
    def address(self) -> str:
        """What is asked, for a person: no secret in it."""

    @abstractmethod
    async def run(self, ctx: Context) -> Result:
        """Asks once. Raises Failed, PolicyRefused, QuotaRefused, OSError, ssl.SSLError, TimeoutError and what `errors` lists."""
