"""Login, the user's own page, logout; five bad logins lock the account for half an hour."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo._database import Database, User
from demo._limits import Lockout
from demo._meter import Meter
from demo._responses import Trouble, fields_of
from demo._world import PROBE_USER, World

WEEK = 604800


@dataclass(frozen=True, slots=True)
class _Session:
    user: User
    until: float


class Auth:
    """Who is who."""

    def __init__(self, world: World, database: Database, meter: Meter) -> None:
        self._world, self._database, self._meter = world, database, meter
        self.lockout = Lockout(world.clock)
        self._sessions: dict[str, _Session] = {}

    def routes(self) -> list[Route]:
        """The routes of this room."""
        return [
            Route("/api/auth/token", self.token, methods=["POST"]),
            Route("/api/auth/me", self.me),
            Route("/api/auth/revoke", self.revoke, methods=["POST"]),
            Route("/api/auth/account", self.account, methods=["DELETE"]),
            Route("/api/csrf-token", self.csrf),
            Route("/api/csrf/token", self.csrf),
        ]

    @property
    def sessions(self) -> int:
        """How many tokens are good."""
        return len(self._sessions)

    def user_of(self, request: Request) -> User | None:
        """The user whose token the request bears; None without a token. Raises Trouble 401 for a bad one."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        session = self._sessions.get(token)
        if session is None or session.until <= self._world.clock.time():
            raise Trouble(401, "Could not validate credentials", headers={"WWW-Authenticate": "Bearer"})
        return session.user

    def need_user(self, request: Request) -> User:
        """As user_of; raises Trouble 401 without a token as well."""
        user = self.user_of(request)
        if user is None:
            raise Trouble(401, "Not authenticated", headers={"WWW-Authenticate": "Bearer"})
        return user

    async def token(self, request: Request) -> Response:
        """A token for a user name (the e-mail) and a password, sent as a form."""
        form = await fields_of(request)
        email, password = form.get("username", ""), form.get("password", "")
        if not email or not password:
            raise Trouble(422, "username and password are required", code="VALIDATION_ERROR")
        key = f"{email} {request.client.host if request.client else ''}"
        if (wait := self.lockout.locked_for(key)) > 0:
            raise self._locked(wait)
        user = await self._database.login(email, password)
        if user is None or ("login-refused" in self._world.faults and email == PROBE_USER):
            raise self._refused(self.lockout.failed(key))
        self.lockout.forget(key)
        token = secrets.token_urlsafe(32)
        self._sessions[token] = _Session(user, self._world.clock.time() + WEEK)
        body = {"access_token": token, "token_type": "bearer", "refresh_token": secrets.token_urlsafe(32), "expires_in": WEEK}
        response = JSONResponse(body)
        response.set_cookie("session_id", secrets.token_urlsafe(16), httponly=True, samesite="lax", secure=True)
        return response

    def _refused(self, left: int) -> Trouble:
        self._meter.logins_failed.labels("password").inc()
        if left <= 0:
            self._meter.incidents.labels("lockout").inc()
        message = f"Incorrect email or password. {max(left, 0)} attempts left"
        return Trouble(401, message, details={"attempts_left": max(left, 0)}, headers={"WWW-Authenticate": "Bearer"})

    @staticmethod
    def _locked(wait: float) -> Trouble:
        seconds = max(1, round(wait))
        message = f"Account locked after too many failed logins. Try again in {seconds} seconds"
        return Trouble(423, message, details={"retry_after": seconds}, headers={"Retry-After": str(seconds)})

    async def me(self, request: Request) -> Response:
        """The user's own page."""
        user = self.need_user(request)
        return JSONResponse({"id": user.id, "email": user.email, "name": user.name})

    async def revoke(self, request: Request) -> Response:
        """Makes the token worthless."""
        self.need_user(request)
        self._sessions.pop(request.headers["authorization"].partition(" ")[2], None)
        return JSONResponse({"message": "Token revoked"})

    async def account(self, _request: Request) -> Response:
        """Deletes the real account: no probe may touch it. Here it is only noted."""
        self._world.forbidden.append("DELETE /api/auth/account")
        return JSONResponse({"message": "Account deleted"})

    async def csrf(self, _request: Request) -> Response:
        """A token for forms without a bearer token; nothing here asks for it back."""
        return JSONResponse({"csrf_token": secrets.token_urlsafe(24)})
