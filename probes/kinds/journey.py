"""Kind `journey`: several HTTP requests in a row, as a user makes them, with values taken from one response into the next."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from probes import Ask, Context, Duration, Failed, Family, PolicyRefused, QuotaRefused, Result, keyed_family
from probes.expect.generated import Values
from probes.facts import USER_ID
from probes.families import cleanup_family
from probes.http.probe import HttpProbe, http_families
from probes.journeys.login import asks_of
from probes.journeys.play import Play
from probes.journeys.player import Player
from probes.journeys.script import Script
from probes.journeys.steps import Step, check_steps
from probes.journeys.totp import TotpField
from probes.target import FREE_METHODS, Target
from probes.text import count, latency, setting

CLEANUP = 5.0  # seconds for the steps with `always`, after the verdict


class Journey(HttpProbe):
    """Plays its steps in order and stops at the first that is not as expected; steps with `always` run in any case.

    Each step's seconds are the fact `step.<name>`. After a refused login the check doesn't log in again for `lockout`, since
    a probe must not lock the account that it uses.
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
        cleanup_family(),
        *http_families(),
    )

    scripted: ClassVar[bool] = True
    captures: ClassVar[bool] = True

    steps: tuple[Step, ...] = Field(description="The requests, in order.")
    lockout: Duration = Field(default=1800.0, description="How long the check doesn't try to log in after a refused login.")

    totp: TotpField | None = Field(default=None, description="The secret of a second factor in base32; {{totp}} is the code of the moment.")

    @model_validator(mode="after")
    def _steps_can_work(self) -> Self:
        check_steps(self.steps, totp=self.totp is not None)
        if self.path:
            raise ValueError("a journey has no path of its own; each step has one")
        if self.url is not None and (step := next((s for s in self.steps if s.method not in FREE_METHODS and not s.target), None)):
            raise ValueError(f"step {step.name}: {step.method} goes to a target that allows it, not to a url of the check's own")
        return self

    def asks(self) -> tuple[Ask, ...]:
        return asks_of(self.steps, self.target, self._base())

    def further_targets(self) -> tuple[Target, ...]:
        return (*super().further_targets(), *{step.target.name: step.target for step in self.steps if step.target}.values())

    def step_names(self) -> tuple[str, ...]:
        return tuple(step.name for step in self.steps)

    def script(self) -> Script:
        steps = self.login.around(self.steps) if self.login else self.steps
        names = [step.name for step in steps]
        differs = {
            "has a step of the same name as its login": len(set(names)) < len(names),
            "sends signed requests": self.sign is not None,
            "sends one-time passwords": self.totp is not None or bool(self.login and self.login.totp),
            "asks a target of a step's own": any(step.target for step in steps) or bool(self.login and self.login.target != self.target),
            "goes to a captured address": any(step.leads_anywhere for step in steps),
            "follows redirects": any(step.redirects for step in steps),
        }
        return Script(steps, self.headers, self.route, tuple(text for text, so in differs.items() if so))

    def cleanup_seconds(self) -> float:
        return CLEANUP if any(step.always for step in self.steps) else 0.0

    def repeatable(self) -> bool:
        """False: a journey logs in and acts as a user."""
        return False

    async def run(self, ctx: Context) -> Result:
        values = Values(ctx.clock.time(), ctx.rng, totp=lambda: ctx.conceal(self.totp.code(ctx.clock.time())) if self.totp else "")
        play = Play(self.steps, locate=self.location, values=values, headers=self.base_headers(), conceal=ctx.conceal)
        left, failure = "", None
        async with self.session() as session:
            player = Player(play, session, self.lockout)
            await player.look_at_lock(ctx, self.steps)
            try:
                await player.send(ctx, play.steps())
            except Failed as failed:
                failure = failed
            finally:
                ctx.decided = ctx.clock.monotonic()
                if any(USER_ID in step.capture and not step.capture[USER_ID].secret for step in self.steps) and USER_ID in values:
                    ctx.facts[USER_ID] = str(values[USER_ID])  # whom the journal names
                if self.cleanup_seconds():
                    left = await self._clean_up(ctx, player)
        if failure:
            raise Failed(failure.reason, failure.message + left) from failure
        taken = [play.seconds[step.name] for step in self.steps if not step.always]
        return Result.passed(f"{count(len(taken), 'step')} in {latency(sum(taken))}{left}")

    async def _clean_up(self, ctx: Context, player: Player) -> str:
        """Plays the steps with `always` within CLEANUP seconds, and notes how that went. The verdict stays.

        Returns what to add to the run's message: "" where nothing failed.
        """
        side = ctx.side_context(deadline=ctx.clock.monotonic() + CLEANUP)
        failures = []
        try:
            async with asyncio.timeout(CLEANUP):
                for moves in player.play.cleanups():
                    try:
                        await player.send(side, moves)
                    except (Failed, PolicyRefused, QuotaRefused, OSError, ssl.SSLError) as error:
                        failures.append(str(error))
        except TimeoutError:
            failures.append(f"{side.step}: no answer within {setting(CLEANUP)}")
        finally:
            ctx.secrets |= side.secrets
            ctx.facts["cleanup_failures"] = int(bool(failures))
            ctx.evidence["cleanup"] = "; ".join(failures) or ("cleaned up" if side.step else "nothing to clean up")
        return f"; its clean-up failed: {'; '.join(failures)}" if failures else ""
