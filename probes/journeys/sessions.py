"""Sessions behind a login: made once, shared by the runs of one wire for their life, made anew where they are over, and given back."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from probes.core import Failed, PolicyRefused, QuotaRefused
from probes.expect.generated import Values
from probes.http.cookies import Cookies
from probes.http.message import Request, Response
from probes.http.pool import BODY_CAP
from probes.http.route import HttpRoute
from probes.http.session import HttpSession, OnData
from probes.http.signature import Signature
from probes.journeys.login import Login
from probes.journeys.play import Play
from probes.journeys.player import Player
from probes.probe import Context
from probes.target import origin

LEAVING = 5.0  # seconds for giving a session back
MOST_RENEWALS = 3  # logins within a login's `lockout` because a target said that the session is over


@dataclass(slots=True)
class LoginSession:
    """A session that a login has made."""

    login: Login
    play: Play
    route: HttpRoute
    cookies: Cookies
    headers: dict[str, str] = field(repr=False)
    secrets: frozenset[str] = field(repr=False)
    until: float  # `clock.time()`
    ctx: Context  # for the requests that give it back
    accepted: bool = False  # whether the target let a request of this session in

    async def leave(self) -> None:
        """Gives it back, within LEAVING seconds. What goes wrong changes nothing: no run waits for it."""
        moves = self.play.cleanup()
        errors = (Failed, PolicyRefused, QuotaRefused, OSError, ssl.SSLError)
        side = self.ctx.side_context(deadline=self.ctx.clock.monotonic() + LEAVING)
        with suppress(*errors):  # TimeoutError is an OSError
            async with asyncio.timeout(LEAVING), HttpSession(self.route, self.cookies) as session:
                await Player(self.play, session, self.login.lockout).send(side, moves)


class Sessions:
    """The sessions of one wire, by their login. `wire.shared(Sessions)`."""

    def __init__(self) -> None:
        self._kept: dict[str, LoginSession] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._renewals: dict[str, list[float]] = {}  # by login, when it was made anew because the session was over
        self._vain: dict[tuple[str, str], float] = {}  # by login and check: until when no login is made for it again
        self._leaving: set[asyncio.Task[None]] = set()

    async def get(self, ctx: Context, login: Login, route: HttpRoute) -> LoginSession:
        """A session that lasts, kept or made now: phase `login`. Raises LoginHeld after a refused login, and Failed with its name."""
        if (kept := self._lasting(login, ctx)) is not None:
            return kept
        with ctx.phase("login"):
            async with self._locks.setdefault(login.key, asyncio.Lock()):
                return self._lasting(login, ctx) or await self._made(ctx, login, route)

    def _lasting(self, login: Login, ctx: Context) -> LoginSession | None:
        kept = self._kept.get(login.key)
        return kept if kept is not None and ctx.clock.time() < kept.until else None

    async def renewed(self, ctx: Context, login: Login, route: HttpRoute, over: LoginSession) -> LoginSession | None:
        """Another session instead of one that a target says is over. None where a login would not help, or there were too many.

        A session that was never let in is not over, and one check that is never let in causes one login within `lockout`.
        """
        with ctx.phase("login"):
            async with self._locks.setdefault(login.key, asyncio.Lock()):
                kept, now = self._kept.get(login.key), ctx.clock.time()
                if kept is not None and kept is not over:
                    return kept
                recent = [made for made in self._renewals.get(login.key, ()) if made > now - login.lockout]
                in_vain = self._vain.get((login.key, ctx.check), 0.0) > now
                if not over.accepted or in_vain or len(recent) >= MOST_RENEWALS:
                    return None
                self._renewals[login.key] = [*recent, now]
                self._vain[login.key, ctx.check] = now + login.lockout
                return await self._made(ctx, login, route)

    def accepted(self, ctx: Context, session: LoginSession, *, after_renewal: bool) -> None:
        """Notes that the target let a request of this session in."""
        session.accepted = True
        if after_renewal:
            self._vain.pop((session.login.key, ctx.check), None)

    async def _made(self, ctx: Context, login: Login, route: HttpRoute) -> LoginSession:
        """Logs in, in a context of its own, so that its phases aren't the target's. The session before is given back."""
        if before := self._kept.pop(login.key, None):
            self._keep(before.leave())
        side = ctx.side_context()
        values = Values(ctx.clock.time(), ctx.rng, totp=lambda: side.conceal(login.totp.code(ctx.clock.time())) if login.totp else "")
        play = Play(login.steps, locate=login.location, values=values, headers=login.base_headers(), conceal=side.conceal)
        cookies, login_route = Cookies(), replace(route, keep_alive=False, oauth2=None)
        try:
            async with HttpSession(login_route, cookies) as session:
                player = Player(play, session, login.lockout)
                await player.look_at_lock(side, login.steps)
                await player.send(side, play.steps())
            headers = login.filled_headers(values)
        except Failed as failed:
            raise Failed(failed.reason, f"login {login.name}: {failed.message}") from failed
        finally:
            ctx.secrets |= side.secrets
            ctx.evidence["login"] = {"login": login.name, "phases": side.phases}
        secrets = frozenset(side.secrets | cookies.values())
        until = ctx.clock.time() + login.life(values)
        made = self._kept[login.key] = LoginSession(login, play, login_route, cookies, headers, secrets, until, side)
        return made

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def leave(self) -> None:
        """Gives all sessions back."""
        for session in self._kept.values():
            self._keep(session.leave())
        self._kept.clear()
        if self._leaving:
            await asyncio.wait(self._leaving)

    def close(self) -> None:
        """Forgets all sessions."""
        self._kept.clear()


class SignedInSession(HttpSession):
    """The HTTP client of one run inside a login's session: its headers and cookies go with every request.

    Where the target says that the session is over, it logs in once anew and sends the request once again.
    """

    def __init__(self, route: HttpRoute, login: Login, *, signature: Signature | None = None, home: str = "") -> None:
        super().__init__(route, signature=signature, home=home)
        self._login = login

    async def send(
        self, ctx: Context, request: Request, *, cap: int = BODY_CAP, redirects: int = 0, on_data: OnData | None = None
    ) -> Response:
        """As HttpSession's, and raises LoginHeld while a refused login is held."""
        if origin(request.url) != origin(self._login.target.url):  # a journey's step at another target has nothing of this session
            return await super().send(ctx, request, cap=cap, redirects=redirects, on_data=on_data)
        sessions = ctx.wire.shared(Sessions)
        session, again = await sessions.get(ctx, self._login, self._route), False
        while True:
            ctx.secrets |= session.secrets
            self._cookies = session.cookies
            response = await super().send(ctx, self._signed(request, session), cap=cap, redirects=redirects, on_data=on_data)
            if response.status not in self._login.over:
                sessions.accepted(ctx, session, after_renewal=again)
                return response
            renewed = None if again else await sessions.renewed(ctx, self._login, self._route, session)
            if renewed is None:
                return response
            session, again = renewed, True

    def _signed(self, request: Request, session: LoginSession) -> Request:
        """The request with the session's headers. They replace the target's; what the check writes itself replaces them."""
        of_target = {(name.lower(), value) for name, value in self._login.base_headers().items()}
        own = {name: value for name, value in request.headers.items() if (name.lower(), value) not in of_target}
        kept = {name.lower() for name in own}
        mine = {name: value for name, value in session.headers.items() if name.lower() not in kept}
        named = {name.lower() for name in mine}
        others = {name: value for name, value in request.headers.items() if name.lower() not in named}
        return replace(request, headers={**others, **mine})
