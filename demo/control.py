"""Faults by command: a control URL on loopback with a random token, and a file that tells the same user's commands where it is."""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo._process import HOST
from demo.faults import FAULTS, UnknownFault

FOLDER = "outrider-demo-{uid}"
Turn = Literal["on", "off"]


class NoDemo(Exception):  # noqa: N818 - what is so: the command says it and ends with 1
    """No demo of this user is running."""


class Declined(Exception):  # noqa: N818 - as above
    """The demo did not do it; the text says why."""


class Control:
    """The control application. `switch` is awaited with the turn and the fault's name, and may raise RuntimeError or OSError."""

    def __init__(self, switch: Callable[[Turn, str], Awaitable[None]], on: Callable[[], frozenset[str]]) -> None:
        self._switch, self._on = switch, on
        self.token = secrets.token_urlsafe(32)

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/faults", self.faults),
                Route("/faults/{name}", self.turn_on, methods=["POST"]),
                Route("/faults/{name}", self.turn_off, methods=["DELETE"]),
            ]
        )

    def _refusal(self, request: Request) -> Response | None:
        """The token keeps web pages and other users out; the Host header keeps out a name that was bent to loopback."""
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.url.hostname not in (HOST, "localhost") or not hmac.compare_digest(given.encode(), self.token.encode()):
            return JSONResponse({"error": "the control URL needs its token"}, 403)
        return None

    async def faults(self, request: Request) -> Response:
        """Every fault, and whether it is on."""
        on = self._on()
        listed = [{"name": each.name, "summary": each.summary, "on": each.name in on} for each in FAULTS.values()]
        return self._refusal(request) or JSONResponse({"faults": listed})

    async def turn_on(self, request: Request) -> Response:
        """Switches a fault on."""
        return await self._turn(request, "on")

    async def turn_off(self, request: Request) -> Response:
        """Switches a fault off."""
        return await self._turn(request, "off")

    async def _turn(self, request: Request, turn: Turn) -> Response:
        if refusal := self._refusal(request):
            return refusal
        name = request.path_params["name"]
        try:
            await self._switch(turn, name)
        except UnknownFault as problem:
            return JSONResponse({"error": str(problem)}, 404)
        except (RuntimeError, OSError) as problem:
            return JSONResponse({"error": f"{name} could not be switched {turn}: {problem}"}, 409)
        return JSONResponse({"name": name, "on": turn == "on", "summary": FAULTS[name].summary})


def control_file(environment: Mapping[str, str] | None = None) -> Path:
    """Where this user's demo says how it is reached."""
    where = os.environ if environment is None else environment
    return Path(where.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / FOLDER.format(uid=os.getuid()) / "control.json"


def announce(file: Path, url: str, token: str) -> None:
    """Writes the file, readable for this user alone. Raises RuntimeError when its folder belongs to somebody else."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if file.parent.stat().st_uid != os.getuid():
        raise RuntimeError(f"{file.parent} belongs to another user; remove it, or set XDG_RUNTIME_DIR")
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        json.dump({"url": url, "token": token, "pid": os.getpid()}, output)
    fresh.replace(file)


def withdraw(file: Path, token: str) -> None:
    """Removes the file, unless a later demo has written its own."""
    try:
        ours = json.loads(file.read_text())["token"] == token
    except (OSError, ValueError, LookupError):
        return
    if ours:
        file.unlink(missing_ok=True)
        if file.parent.name == FOLDER.format(uid=os.getuid()):
            with contextlib.suppress(OSError):  # another demo has just put its own there
                file.parent.rmdir()


def send(turn: Turn, name: str, file: Path | None = None) -> str:
    """Switches a fault of the running demo on or off; returns a line that says what was done.

    Blocks for as long as that takes. Raises NoDemo when none runs, Declined when it said no or no fault has this name.
    """
    if name not in FAULTS:
        raise Declined(str(UnknownFault(name)))
    try:
        where = json.loads((file or control_file()).read_text())
        url, headers = f"{where['url']}/faults/{name}", {"Authorization": f"Bearer {where['token']}"}
        with httpx.Client(trust_env=False, timeout=60) as client:
            response = client.request("POST" if turn == "on" else "DELETE", url, headers=headers)
    except (OSError, ValueError, TypeError, LookupError, httpx.TransportError) as problem:
        raise NoDemo("no demo is running; start one with: outrider demo") from problem
    body = response.json()
    if not response.is_success:
        raise Declined(body["error"])
    return f"{name} is on: {body['summary']}" if turn == "on" else f"{name} is off"
