"""Kind `journey`: several HTTP requests in a row, as a user makes them, with values taken from one answer into the next."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, model_validator

from probes import Ask, Context, Duration, Failed, Family, PolicyRefused, QuotaRefused, Reason, Result, keyed_family
from probes.expect.assertions import duration
from probes.http.probe import HttpProbe, HttpSession, http_families
from probes.journeys.play import Moves, Play
from probes.journeys.script import Script
from probes.journeys.steps import Step, check_steps
from probes.target import FREE_METHODS

LEAVING = 5.0  # seconds that the steps with `always` have of their own


class Journey(HttpProbe):
    """Plays its steps in order and stops at the first that is not as expected; steps with `always` run in any case.

    Each step's seconds are the fact `step.<name>`. After a refused login none is tried again for `lockout`: an account
    that locks after so many failures must not be locked by its own probe.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"url": "http://127.0.0.1:9", "steps": [{"name": "open", "get": "/health/ready", "expect": {"json": {"$.status": "ready"}}}]},
        {
            "target": {
                "name": "api",
                "url": "http://127.0.0.1:9",
                "allow": ["POST /api/auth/token", "POST /api/stories/generate", "POST /api/auth/revoke"],
            },
            "steps": [
                {
                    "name": "login",
                    "post": "/api/auth/token",
                    "form": {"username": "probe@example.com", "password": "example-password-1"},
                    "capture": {"token": "$.access_token"},
                },
                {
                    "name": "story",
                    "post": "/api/stories/generate",
                    "headers": {"Authorization": "Bearer {{token}}"},
                    "json": {"location": {"latitude": 37.8, "longitude": -122.4}, "interests": ["history"], "force_refresh": True},
                    "expect": {"json": {"$.metadata.is_fallback": False}, "within": "10s"},
                },
                {"name": "leave", "post": "/api/auth/revoke", "headers": {"Authorization": "Bearer {{token}}"}, "always": True},
            ],
        },
    )
    families: ClassVar[tuple[Family, ...]] = (
        keyed_family("probe_journey_step_duration_seconds", "Seconds from sending a step to the last byte of its response", "step", "step"),
        *http_families(),
    )

    scripted: ClassVar[bool] = True

    steps: tuple[Step, ...] = Field(description="The requests, in order.")
    lockout: Duration = Field(default=1800.0, description="How long the check doesn't try to log in after a refused login.")

    @model_validator(mode="after")
    def _steps_can_work(self) -> Self:
        check_steps(self.steps)
        if self.path:
            raise ValueError("a journey has no path of its own; each step has one")
        if self.url is not None and (step := next((s for s in self.steps if s.method not in FREE_METHODS), None)):
            raise ValueError(f"step {step.name}: {step.method} goes to a target that allows it, not to a url of the check's own")
        return self

    def asks(self) -> tuple[Ask, ...]:
        return tuple(Ask(step.method, self.location(step.path), ("steps", index)) for index, step in enumerate(self.steps))

    def step_names(self) -> tuple[str, ...]:
        return tuple(step.name for step in self.steps)

    def script(self) -> Script:
        return Script(self.steps, self.headers, self.route)

    def afterwards(self) -> float:
        return LEAVING if any(step.always for step in self.steps) else 0.0

    def repeatable(self) -> bool:
        """It logs in, and does what a user does."""
        return False

    async def run(self, ctx: Context) -> Result:
        for step in self.steps:
            if step.logs_in:
                await ctx.ledger.held(self._lock(step))
        play = Play(self.steps, locate=self.location, headers=self.base_headers(), conceal=ctx.conceal)
        async with self.session() as session:
            try:
                await self._play(ctx, session, play.steps())
            finally:
                ctx.decided = ctx.clock.monotonic()
                if self.afterwards():
                    ctx.evidence["afterwards"] = await self._leave(ctx, session, play)
        taken = [play.seconds[step.name] for step in self.steps if not step.always]
        return Result.passed(f"{len(taken)} step{'s'[: len(taken) - 1]} in {duration(sum(taken))}")

    async def _play(self, ctx: Context, session: HttpSession, moves: Moves) -> None:
        """Carries requests out and answers in until the moves are at their end."""
        sending = next(moves, None)
        while sending is not None:
            step = sending.step
            ctx.step = step.name
            try:
                answer = await session.ask(ctx, sending.request)
            except Failed as failed:
                moves.throw(failed)  # it comes back with the step's name
                raise
            ctx.facts[f"step.{step.name}"] = answer.seconds
            try:
                sending = moves.send(answer)
            except StopIteration:
                return
            except Failed as failed:
                if failed.reason is Reason.AUTH and step.logs_in:
                    await ctx.ledger.hold(self._lock(step), self.lockout, f"its login was refused ({answer.status})")
                raise

    async def _leave(self, ctx: Context, session: HttpSession, play: Play) -> str:
        """Plays the steps with `always` on time of their own, and says how it went. The verdict is known, and stays."""
        aside = ctx.side_context(deadline=ctx.clock.monotonic() + LEAVING)
        try:
            async with asyncio.timeout(LEAVING):
                await self._play(aside, session, play.leaving())
        except TimeoutError:
            return f"{aside.step}: no answer within {LEAVING:g} s"
        except (Failed, PolicyRefused, QuotaRefused, OSError) as error:
            return str(error)
        finally:
            ctx.secrets |= aside.secrets
        return "cleaned up" if aside.step else "nothing to clean up"

    def _lock(self, step: Step) -> str:
        """What a refused login holds: its address, since an application locks the account and the sender's address."""
        scheme, host, path, *_ = urlsplit(self.location(step.path))
        return f"login {urlunsplit((scheme, host.rpartition('@')[2], path, '', ''))}"
