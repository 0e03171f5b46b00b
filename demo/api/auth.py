"""Login, the user's own page, logout; five bad logins lock the account for half an hour."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo._database import Database, User
from demo._limits import Lockout
from demo._meter import Meter
from demo._responses import Trouble, body_of, fields_of
from demo._world import PROBE_USER, World

WEEK = 604800


@dataclass(frozen=True, slots=True)
class _Session:
    user: User
    until: float


class RevokeForm(BaseModel):
    """What a token is revoked with."""

    token: str = Field(min_length=1)


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
            Route("/api/csrf-token", self.other_csrf),
            Route("/api/csrf/token", self.csrf),
        ]

    @property
    def sessions(self) -> int:
        """How many tokens are good."""
        return len(self._sessions)

    def user_of(self, request: Request) -> User | None:
        """The user whose token the request bears; None without a token, and for a bad one, as in the real one."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        session = self._sessions.get(token) if scheme.lower() == "bearer" else None
        return session.user if session and session.until > self._world.clock.time() else None

    def need_user(self, request: Request) -> User:
        """As user_of; raises Trouble 401 where that is nobody."""
        user = self.user_of(request)
        if user is None:
            raise Trouble(401, "Could not validate credentials", headers={"WWW-Authenticate": "Bearer"})
        return user

    async def token(self, request: Request) -> Response:
        """A token for a user name (the e-mail) and a password, sent as a form."""
        form = await fields_of(request)
        email, password = form.get("username", ""), form.get("password", "")
        if not email or not password:
            raise Trouble(422, "username and password are required", code="VALIDATION_ERROR")
        key, wait = f"{email} {request.client.host if request.client else ''}", self.lockout.seconds
        if "address-locked" in self._world.faults or (wait := self.lockout.locked_for(key)) > 0:
            raise self._locked(wait)
        user = await self._database.login(email, password)
        if user is None or ("login-refused" in self._world.faults and email == PROBE_USER):
            left = self.lockout.failed(key)
            self._meter.logins_failed.labels("password").inc()
            if left <= 0:
                self._meter.incidents.labels("lockout").inc()
            message = f"Incorrect email or password. {max(left, 0)} attempts left"
            raise Trouble(401, message, details={"attempts_left": max(left, 0)}, headers={"WWW-Authenticate": "Bearer"})
        self.lockout.forget(key)
        token = secrets.token_urlsafe(32)
        self._sessions[token] = _Session(user, self._world.clock.time() + WEEK)
        body = {"access_token": token, "token_type": "bearer", "refresh_token": secrets.token_urlsafe(32), "expires_in": WEEK}
        response = JSONResponse(body)
        response.set_cookie("session_id", secrets.token_urlsafe(16), httponly=True, samesite="lax", secure=True)
        return response

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
        """Makes the token in the body worthless."""
        form = await body_of(request, RevokeForm)
        if "revoke-refused" in self._world.faults or self._sessions.pop(form.token, None) is None:
            raise Trouble(400, "Invalid token")
        return JSONResponse({"message": "Token revoked"})

    async def account(self, _request: Request) -> Response:
        """Deletes the real account: no probe may touch it. Here it is only noted."""
        self._world.forbidden.append("DELETE /api/auth/account")
        return JSONResponse({"message": "Account deleted"})

    async def csrf(self, request: Request) -> Response:
        """A token for requests without a bearer token: they send it back in its cookie and in X-CSRF-Token."""
        token = f"{secrets.token_urlsafe(32)}.{int(self._world.clock.time())}.{secrets.token_hex(32)}"
        response = JSONResponse({"csrf_token": token, "header_name": "X-CSRF-Token"})
        secure = request.headers.get("x-forwarded-proto", "").lower() == "https"
        response.set_cookie("csrf_token", token, max_age=14400, samesite="strict", secure=secure)
        return response

    async def other_csrf(self, _request: Request) -> Response:
        """A token of another form, which nothing accepts."""
        return JSONResponse({"success": True, "csrf_token": secrets.token_hex(32)})
