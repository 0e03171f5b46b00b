"""Sends what a play yields over an HTTP session, and holds a login that was refused: a probe must not lock the account that it uses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from probes.core import Failed
from probes.expect.beside import beside_the_loop
from probes.facts import step as step_fact
from probes.http.session import HttpSession
from probes.journeys.play import Moves, Play, following
from probes.journeys.steps import Step
from probes.probe import Context
from probes.text import moment


@dataclass(frozen=True, slots=True)
class Player:
    """Plays over one session. After a refused login none is tried for `lockout` seconds, by any check of this state."""

    play: Play
    session: HttpSession
    lockout: float

    async def look_at_lock(self, ctx: Context, steps: Iterable[Step]) -> None:
        """Raises LoginHeld while a login among these steps is held."""
        for step in steps:
            if step.logs_in:
                await ctx.ledger.held(self._lock(step))

    async def send(self, ctx: Context, moves: Moves) -> None:
        """Sends each request and returns its response to the play, until its end. Raises Failed with the step's name."""
        sending = next(moves, None)
        while sending is not None:
            step = sending.step
            ctx.step = step.name
            if sending.wait:
                ctx.unfinished = f"{sending.unmet}; it is asked again after {sending.wait:g} s" if sending.unmet else ""
                await asyncio.sleep(sending.wait)
                ctx.unfinished = ""
            try:
                response = await self.session.send(ctx, sending.request, redirects=step.redirects)
            except Failed as failed:
                moves.throw(failed)  # raises Failed with the step's name
                raise
            try:
                sending = await beside_the_loop(response.body, following, moves, response)
            except Failed as failed:
                if step.refused(response, failed):
                    until = moment(ctx.clock.time() + self.lockout)
                    await ctx.ledger.hold(self._lock(step), self.lockout, f"its login was refused ({response.status})")
                    raise Failed(failed.reason, f"{failed.message}; no login is tried until {until}") from failed
                raise
            finally:
                ctx.facts[step_fact(step.name)] = self.play.seconds.get(step.name, response.seconds)

    def _lock(self, step: Step) -> str:
        """The key of the hold after a refused login: its address, since an application locks the account and the sender's address."""
        scheme, host, path, *_ = urlsplit(self.play.address(step))
        return f"login {urlunsplit((scheme, host.rpartition('@')[2], path, '', ''))}"
