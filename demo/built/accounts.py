"""Login, tokens and CSRF. No token can be revoked, and the fifth wrong password locks the whole address."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from demo._cache import Cache
from demo._database import Database, DatabaseDown
from demo._limits import Lockout
from demo._responses import fields_of
from demo._world import ADMIN_USER, PREMIUM_USER, PROBE_USER, TWO_FACTOR_USER, Built, World
from demo.built.front import CsrfTokens
from demo.built.responses import BEARER, Crash, Invalid, body_of

WEEK, MONTH = 604800, 2592000
PAID = frozenset({PREMIUM_USER, ADMIN_USER})


class RevokeForm(BaseModel):
    """What a token is revoked with."""

    token: str


@dataclass(frozen=True, slots=True)
class Login:
    """Whose token it is, until when it is good, and what it is good for."""

    email: str
    until: float
    refreshes: bool = False

    @property
    def premium(self) -> bool:
        """Whether the user pays."""
        return self.email in PAID

    @property
    def administers(self) -> bool:
        """Whether the user may see what operators see."""
        return self.email == ADMIN_USER


class Accounts:
    """Who is who. `lockout` and `sessions` are open to tests and faults."""

    def __init__(self, world: World, built: Built, database: Database, cache: Cache, csrf: CsrfTokens) -> None:
        self._world, self._built, self._database, self._cache, self._csrf = world, built, database, cache, csrf
        self.lockout = Lockout(world.clock)
        self._logins: dict[str, Login] = {}

    @property
    def sessions(self) -> int:
        """How many access tokens are good."""
        return sum(not login.refreshes for login in self._logins.values())

    def login_of(self, request: Request) -> Login | None:
        """Whose access token the request bears; None without one and for a bad one: nobody is refused."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        found = self._logins.get(token) if scheme.lower() == "bearer" else None
        return found if found and found.until > self._world.clock.time() and not found.refreshes else None

    async def need_login(self, request: Request) -> Login:
        """As login_of, and looked up in the database. Raises HTTPException 401, for a good token as well if the database is down."""
        if not request.headers.get("authorization", "").lower().startswith("bearer "):
            raise HTTPException(401, "No authentication token provided", BEARER)
        login = self.login_of(request)
        if login is None:
            raise HTTPException(401, "Invalid or expired token", BEARER)
        try:
            await self._database.ping()
        except DatabaseDown as problem:
            raise HTTPException(401, "Authentication failed", BEARER) from problem
        return login

    async def token(self, request: Request) -> Response:
        """A token for an e-mail and a password, sent as a form."""
        sent = await fields_of(request) if "urlencoded" in request.headers.get("content-type", "") else {}
        missing = [name for name in ("username", "password") if not sent.get(name)]
        if missing:
            raise Invalid([{"loc": ["body", name], "msg": "Field required", "type": "missing"} for name in missing])
        email, address = sent["username"], f"address {request.client.host if request.client else ''}"
        remembers = await self._cache.responds(self._world.delays.redis)  # without Redis there is no lock
        if remembers:
            self._refuse_locked(email, address)
        try:
            user = await self._database.login(email, sent["password"])
        except DatabaseDown as problem:
            raise HTTPException(500, "Login failed") from problem
        if user is None or ("login-refused" in self._world.faults and email == PROBE_USER):
            raise self._wrong(email, address, remembers=remembers)
        if email == TWO_FACTOR_USER or not remembers:  # the second factor's form is unreachable; a session is kept in Redis
            raise HTTPException(500, "Login failed")
        self.lockout.forget(email)
        response = self._tokens(email)
        response.set_cookie("session_id", secrets.token_urlsafe(16), httponly=True, samesite="lax", secure=self._built.production)
        return response

    def _refuse_locked(self, email: str, address: str) -> None:
        """The address is locked for whoever comes from there, with a right password too; no Retry-After says until when."""
        if (wait := self.lockout.locked_for(email)) > 0:
            raise HTTPException(423, f"Account is locked. Try again in {round(wait)} seconds", BEARER)
        if "address-locked" in self._world.faults or (wait := self.lockout.locked_for(address)) > 0:
            raise HTTPException(423, f"Too many failed attempts from this IP. Try again in {round(wait or 1800)} seconds", BEARER)

    def _wrong(self, email: str, address: str, *, remembers: bool) -> HTTPException:
        left = self.lockout.most - 1
        if remembers:
            left = self.lockout.failed(email)
            self.lockout.failed(address)
        if left <= 0:
            return HTTPException(423, f"Account locked after {self.lockout.most} failed attempts. Try again later", BEARER)
        return HTTPException(401, f"Incorrect email or password. {left} attempts remaining", BEARER)

    def _tokens(self, email: str) -> JSONResponse:
        now = self._world.clock.time()
        access, refresh = _jwt(email), _jwt(email)
        self._logins |= {access: Login(email, now + WEEK), refresh: Login(email, now + MONTH, refreshes=True)}
        body = {
            "access_token": access,
            "token_type": "bearer",
            "refresh_token": refresh,
            "expires_in": WEEK,
            "requires_2fa": None,
            "partial_token": None,
        }
        response = JSONResponse(body)
        response.set_cookie("refresh_token", refresh, max_age=MONTH, httponly=True, samesite="lax", secure=self._built.production)
        return response

    async def refresh(self, request: Request) -> Response:
        """Fresh tokens for a refresh token, of the body or of the cookie. The old one stays good."""
        try:
            sent = json.loads(await request.body() or b"{}")
        except ValueError:
            sent = {}
        token = (sent.get("refresh_token") if isinstance(sent, dict) else None) or request.cookies.get("refresh_token")
        if not token:
            raise HTTPException(400, "Refresh token is required")
        login = self._logins.get(token)
        if login is None or not login.refreshes:
            raise HTTPException(401, "Invalid or expired refresh token", BEARER)
        return self._tokens(login.email)

    async def revoke(self, request: Request) -> Response:
        """Never succeeds: it decodes the token without naming the audience, and every token has one."""
        await body_of(request, RevokeForm)
        raise HTTPException(400, "Invalid token")

    async def me(self, request: Request) -> Response:
        """Fails for every right token: its schema wants a text where the model has a date."""
        await self.need_login(request)
        raise Crash

    async def user(self, request: Request) -> Response:
        """Nobody is found, not even oneself."""
        await self.need_login(request)
        raise HTTPException(404, "User not found")

    async def two_factor(self, request: Request) -> Response:
        """Always the same."""
        await self.need_login(request)
        return JSONResponse({"enabled": False, "method": None, "backup_codes_remaining": 0, "status": "stub_implementation"})

    async def register(self, _request: Request) -> Response:
        """Makes a user in the real one, and answers 500 all the same: no probe may come here."""
        raise HTTPException(500, "Registration failed")

    async def jwks(self, _request: Request) -> Response:
        """The keys that tokens are checked with."""
        key = {"alg": "RS256", "kty": "RSA", "n": secrets.token_urlsafe(256), "e": "AQAB", "kid": "outrider-demo", "use": "sig"}
        return JSONResponse({"keys": [key]})

    async def csrf(self, request: Request) -> Response:
        """A CSRF token: a fresh one only for who sends none."""
        token = request.cookies.get("csrf_token")
        fresh = token or self._csrf.make(self._world.clock.time())
        response = JSONResponse({"csrf_token": fresh, "header_name": "X-CSRF-Token"})
        if token is None:
            response.set_cookie("csrf_token", fresh, max_age=14400, samesite="strict", secure=_secure(request))
            response.headers["x-csrf-token"] = fresh
        return response

    async def other_csrf(self, request: Request) -> Response:
        """A token of another kind, which the middleware refuses."""
        token = secrets.token_hex(32)
        response = JSONResponse({"success": True, "csrf_token": token})
        response.set_cookie("csrf_token", token, max_age=86400, httponly=True, samesite="lax", secure=_secure(request))
        response.headers["x-csrf-token"] = self._csrf.make(self._world.clock.time())
        return response


def _secure(request: Request) -> bool:
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "").lower() == "https"


def _jwt(email: str) -> str:
    """A token of the right form; its signature is random."""
    payload: dict[str, Any] = {"sub": email, "iss": "roadtrip-api", "aud": "roadtrip-client", "jti": secrets.token_hex(8)}
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "RS256", "typ": "JWT"}, payload)
    )
    return f"{head}.{body}.{secrets.token_urlsafe(64)}"
