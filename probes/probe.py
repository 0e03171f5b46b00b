"""What a kind of check is, and what one run of it gets."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from probes.core import Ask, Clock, Ledger, Measurements, Reason, Result, Sender
from probes.expect.publish import Publications, family_of
from probes.families import Family
from probes.journeys.script import Script
from probes.target import Revision, Target
from probes.text import listed
from probes.wire.endpoint import Endpoint, Variation
from probes.wire.stream import Stream
from probes.wire.wire import Wire


class Context(Measurements):
    """What one run gets, and where it keeps its measurements."""

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
        self.revision: Revision | None = None  # where the target reports its revision
        self.secrets: set[str] = set()  # found during this run (a captured token); redacted like those of the configuration

    def side_context(self, *, permit: Callable[[str, str], Awaitable[None]] | None = None, deadline: float | None = None) -> Context:
        """A context for a side request of the same run, so that its measurements don't count as the target's."""
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
        """Treats a value found during this run as a secret, and returns it."""
        self.secrets.add(secret)
        return secret


class Probe(BaseModel, ABC):
    """A kind of check: its settings, and how it probes. A public file or folder in `probes/kinds/` is one kind, with the same name.

    Frozen; unknown keys are errors. `run` lets network errors and timeouts escape: runner.engine.execute alone turns exceptions
    into verdicts. `Failed` says that the target is down.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    examples: ClassVar[tuple[dict[str, Any], ...]] = ()
    families: ClassVar[tuple[Family, ...]] = ()
    errors: ClassVar[dict[type[Exception], Reason]] = {}  # of its libraries; the engine knows OSError, ssl.SSLError and timeouts

    scripted: ClassVar[bool] = False  # whether its checks have a script, which a load can play
    captures: ClassVar[bool] = False  # whether a script of this kind may capture values, such as the token of a login

    publishable: ClassVar[frozenset[str]] = frozenset({"fact"})  # where a number may stand that its checks publish

    publish: Publications = Field(default={}, description="By name, numbers that it sees and publishes as metrics probe_published_<name>.")

    @model_validator(mode="after")
    def _publishes_what_it_sees(self) -> Self:
        for name, each in self.publish.items():
            if each.source not in self.publishable:
                here = listed(sorted(self.publishable))
                raise ValueError(f"publish: {name}: a check of this kind has no {each.source} to publish; it has {here}")
        return self

    def published_families(self) -> tuple[Family, ...]:
        """The metrics of the numbers that it publishes."""
        return tuple(family_of(name, each) for name, each in self.publish.items())

    _folder: Path = PrivateAttr(default=Path())  # that of checks.yaml, where relative paths inside addresses start

    def model_post_init(self, context: Any, /) -> None:
        """Keeps the folder of the validation context."""
        self._folder = Path((context or {}).get("folder", ""))

    def goes_to(self) -> Target | None:
        """The target under `targets:` that it asks; None for an address of its own."""
        return None

    def further_targets(self) -> tuple[Target, ...]:
        """The targets that it asks beside `goes_to`."""
        return ()

    def further_settings(self) -> tuple[str, ...]:
        """What changes with settings that stand elsewhere in the file and that its running depends on, such as a login's."""
        return ()

    def step_names(self) -> tuple[str, ...]:
        """The steps whose seconds it notes as facts `step.<name>`: an SLO may measure one."""
        return ()

    def script(self) -> Script | None:
        """What it sends step by step, for a load to play; None for a kind without steps."""
        return None

    def asks(self) -> tuple[Ask, ...]:
        """The HTTP requests that one run may send, without redirects."""
        return ()

    def files(self) -> tuple[Path, ...]:
        """The files whose content belongs to its settings: a change in one of them is a change of the check."""
        return ()

    def part_names(self) -> tuple[str, ...]:
        """The names of the parts that every Result of this check has (observations of their own, `check/part`)."""
        return ()

    def part_compares(self) -> Mapping[str, str]:
        """For each part, the check that measures the same thing directly (`compare_with`)."""
        return {}

    def report_token(self) -> SecretStr | None:
        """The token with which others may report to this check (POST /heartbeat/NAME); None for a kind that asks by itself."""
        return None

    def reported(self, known: Mapping[str, Any] | None, report: Mapping[str, Any], at: float) -> Mapping[str, Any]:
        """The record after a report, from the one before: what `ledger.recall` gives to a run. Pure. Raises ValueError."""
        raise NotImplementedError

    def cleanup_seconds(self) -> float:
        """The longest time in seconds that a run may take after its verdict or its deadline, to clean up."""
        return 0.0

    def repeatable(self) -> bool:
        """Whether a run may be repeated at once: it sends only GET, HEAD and OPTIONS, doesn't log in and costs nothing."""
        return all(ask.method in ("GET", "HEAD", "OPTIONS") for ask in self.asks())

    def endpoint(self) -> Endpoint | None:
        """Where its connection goes, for the diagnosis of a failed run; None where there is nothing to try."""
        return None

    def unverified_handshake(self) -> Callable[[Context], Awaitable[Stream]] | None:
        """Opens a connection up to a TLS handshake that accepts any certificate, in the kind's own protocol, and sends no more.

        For the diagnosis of a run that failed in TLS; None where there is no handshake to make.
        """
        endpoint = self.endpoint()
        if endpoint is None or not endpoint.secure or not endpoint.route.tls.verify:
            return None
        tls = endpoint.route.tls.model_copy(update={"verify": False})
        return lambda ctx: ctx.wire.stream(ctx, endpoint.host, endpoint.port, tls, endpoint.protocols(), endpoint.route)

    def with_variation(self, variation: Variation) -> Probe | None:  # noqa: ARG002 - used by the kinds that can vary
        """The same check with one thing changed; None where the kind can't do that, or where a run may not be repeated."""
        return None

    @abstractmethod
    def address(self) -> str:
        """The address that is probed, for a person: without secrets."""

    @abstractmethod
    async def run(self, ctx: Context) -> Result:
        """Probes once. Raises Failed, PolicyRefused, QuotaRefused, OSError, ssl.SSLError, TimeoutError and what `errors` lists."""
