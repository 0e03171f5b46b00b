"""Faults by command: a control URL on loopback with a random token, and a file that tells the same user's commands where it is.

Each running demo has a file of its own, named by its process. Where several run, a command says which one it means.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo._process import HOST
from demo.faults import FAULTS, UnknownFault

FOLDER = "outrider-demo-{uid}"
DEMO = "OUTRIDER_DEMO"  # the variable with the process id of the demo that is meant
Turn = Literal["on", "off"]


class NoDemo(Exception):  # noqa: N818 - what is so: the command says it and ends with 1
    """No demo of this user is running, or not the one that is meant, or several are and none was named."""


class Declined(Exception):  # noqa: N818 - as above
    """The demo did not do it; the text says why."""


class Control:
    """The control application.

    `switch` is awaited with the turn and the fault's name, returns whether that changed anything, and may raise RuntimeError or OSError.
    """

    def __init__(self, switch: Callable[[Turn, str], Awaitable[bool]], on: Callable[[], frozenset[str]]) -> None:
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
            changed = await self._switch(turn, name)
        except UnknownFault as problem:
            return JSONResponse({"error": str(problem)}, 404)
        except (RuntimeError, OSError) as problem:
            return JSONResponse({"error": f"{name} could not be switched {turn}: {problem}"}, 409)
        return JSONResponse({"name": name, "on": turn == "on", "changed": changed, "summary": FAULTS[name].summary})


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo: its process, and how its faults are switched."""

    pid: int
    url: str
    token: str = field(repr=False)


def control_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where this user's demos say how they are reached."""
    where = os.environ if environment is None else environment
    return Path(where.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / FOLDER.format(uid=os.getuid())


def control_file(environment: Mapping[str, str] | None = None) -> Path:
    """Where the demo of this process says how it is reached."""
    return control_folder(environment) / f"{os.getpid()}.json"


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


def running_demos(folder: Path) -> tuple[Demo, ...]:
    """The demos of this user whose processes live. What a killed one left is passed over."""
    found = []
    for file in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError):
            written = json.loads(file.read_text())
            demo = Demo(int(written["pid"]), str(written["url"]), str(written["token"]))
            os.kill(demo.pid, 0)
            found.append(demo)
    return tuple(found)


def find_demo(pid: int | None, folder: Path | None = None) -> Demo:
    """The running demo; of several the one with this process id. Raises NoDemo."""
    demos = running_demos(folder or control_folder())
    for demo in demos:
        if demo.pid == pid or (pid is None and len(demos) == 1):
            return demo
    known = ", ".join(str(demo.pid) for demo in demos)
    if not demos:
        raise NoDemo("no demo is running; start one with: outrider demo")
    if pid is not None:
        raise NoDemo(f"no demo with the process id {pid} is running; running: {known}")
    raise NoDemo(f"{len(demos)} demos are running, with the process ids {known}; say which one is meant: --demo {demos[0].pid}")


def send(turn: Turn, name: str, demo: Demo) -> str:
    """Switches a fault of a running demo on or off; returns a line that says what was done, and in which demo.

    Blocks for as long as that takes. Raises UnknownFault; NoDemo when it doesn't respond, Declined when it said no.
    """
    if name not in FAULTS:
        raise UnknownFault(name)
    body = _ask(demo, "POST" if turn == "on" else "DELETE", f"/faults/{name}")
    here = f"in the demo with the process id {demo.pid}"
    if turn == "on":
        return f"{name} is {'on' if body['changed'] else 'on already'} {here}: {body['summary']}"
    return f"{name} is off {here}" if body["changed"] else f"{name} was not on {here}"


def faults_on(demo: Demo) -> frozenset[str]:
    """The faults that are on in a running demo. Raises NoDemo and Declined."""
    return frozenset(fault["name"] for fault in _ask(demo, "GET", "/faults")["faults"] if fault["on"])


def _ask(demo: Demo, method: str, path: str) -> Any:
    try:
        with httpx.Client(trust_env=False, timeout=60) as client:
            response = client.request(method, demo.url + path, headers={"Authorization": f"Bearer {demo.token}"})
            body = response.json()
    except (OSError, ValueError, httpx.TransportError) as problem:
        raise NoDemo("no demo is running; start one with: outrider demo") from problem
    if not response.is_success:
        raise Declined(body["error"])
    return body
