"""Sends the requests of users over gevent: the interpreter of journeys is the probes' own, the client is Locust's FastHttp client."""

from __future__ import annotations

import errno
import math
import os
import random
import resource
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import gevent
from geventhttpclient.client import HTTPClient
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS

from judge.redact import Redactor
from loadtests.order import Order, SloOrder, UserTask
from loadtests.record import Ended, Record
from probes.core import SHORTAGES, Failed, PolicyRefused, Reason
from probes.expect.generated import Values
from probes.http.message import Request, Response
from probes.journeys.play import Moves, Play, Sending
from probes.target import Target

LEAVING = 5.0  # seconds for the steps that are `always`
_DEADLINE_CHECK = 0.1  # seconds between two looks at the deadlines
CAP = 4 * 1024 * 1024  # bytes of a response
_GZIP = 31  # zlib's number for it
RequestEvent = Callable[..., None] | None  # Locust's request event, where somebody reads Locust's own statistics


@dataclass(slots=True)
class _UserState:
    """What one user has: cookies, the seconds of steps and phases, the secrets that were captured."""

    cookies: dict[str, str] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)


class RequestFilter:
    """The one place where a load's request is let through: the target's own rules, remembered by method and URL."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._known: dict[tuple[str, str], str | None] = {}

    def check(self, request: Request) -> None:
        """Raises Refused."""
        key = request.method, request.url
        if key not in self._known:
            if len(self._known) > 10_000:  # noqa: PLR2004 - paths with captured values could be without number
                self._known.clear()
            self._known[key] = self._target.refusal(*key)
        if refusal := self._known[key]:
            raise PolicyRefused(refusal)


class UserSimulator:
    """Plays the tasks of one worker's users and counts the results. `begin` is the start of the run by `perf_counter`."""

    def __init__(self, order: Order, subjects: Mapping[str, tuple[SloOrder, ...]], client: HTTPClient, on_request: RequestEvent) -> None:
        self._order, self._tasks, self._subjects, self._client, self._on_request = order, order.tasks, subjects, client, on_request
        self._filter = RequestFilter(order.target)
        self._known = Redactor(order.secrets).known
        self._base = order.target.url.rstrip("/")
        self._agent = {"User-Agent": f"Outrider/{order.version or '0'} (load test)", "Accept-Encoding": "gzip"}
        self._origin = self._base[: len(self._base) - len(urlsplit(self._base).path)]
        self._leaves = {name for name, task in order.tasks.items() if any(step.always for step in task.steps)}
        self.record = Record()
        self.begin = 0.0
        self.token = ""
        self._rng = random.SystemRandom()  # for uuids: those of two workers must differ
        self.in_flight = 0
        self._deadlines: dict[Any, float] = {}

    def now(self) -> float:
        """Seconds since the start of the run."""
        return time.perf_counter() - self.begin

    def play(self, name: str, variant: int, due: float) -> None:
        """Plays a task for a user who was due at this time, whatever the time is now, and counts it. The caller adds to `in_flight`."""
        task = self._tasks[name]
        begun = self.now()
        me = gevent.getcurrent()
        self._deadlines[me] = begun + task.timeout
        self.record.start(name, due, begun - due)
        reason, message = "", ""
        user = _UserState()
        play = self._play_of(task, variant, user.secrets)
        try:
            self._send_steps(name, play.steps(), user, due)
        except Failed as failed:
            reason, message = str(failed.reason), self._first_message(name, failed, user.secrets)
        except PolicyRefused as refused:
            reason, message = str(Reason.POLICY), str(refused)
        except gevent.Timeout:
            reason, message = str(Reason.TIMEOUT), f"not done within {task.timeout:g} s"
        ended = self.now()
        slos = self._subjects.get(name, ())
        self.record.end_task(name, Ended(due, ended - due, ended - begun, reason, message, user.phases), slos)
        if name in self._leaves:
            self._deadlines[me] = ended + LEAVING
            with suppress(
                Failed, PolicyRefused, gevent.Timeout
            ):  # the steps that are `always` are judged by nobody; errors are counted by request
                self._send_steps(name, play.cleanup(), _UserState(cookies=user.cookies, secrets=user.secrets), self.now())
        del self._deadlines[me]
        self.in_flight -= 1

    def cut(self, now: float = math.inf) -> None:
        """Ends the tasks whose time is over by `now` (all of them without one): gevent.Timeout is raised in each, and it is counted."""
        for greenlet, deadline in list(self._deadlines.items()):
            if deadline <= now:
                self._deadlines[greenlet] = math.inf
                gevent.get_hub().loop.run_callback(self._time_out, greenlet)

    def _time_out(self, greenlet: Any) -> None:
        """Unless it has come to its end meanwhile: what is thrown at a greenlet that has ended comes back to the loop."""
        if greenlet in self._deadlines:
            greenlet.throw(gevent.Timeout())

    def watch_deadlines(self) -> None:
        """Ends what is over its time, ten times a second: a timer for each task would cost more than it is worth."""
        while True:
            gevent.sleep(_DEADLINE_CHECK)
            self.cut(self.now())

    def drop(self, name: str, due: float) -> None:
        """An arrival that can't begin, since too many are under way: bad for whatever its task is judged by."""
        self.record.drop(name, due)
        for subject in (name, f"{name}/{self._tasks[name].steps[0].name}"):
            self.record.count(subject, Ended(due, 0.0, 0.0, "dropped"), self._subjects.get(subject, ()))

    def log_in(self, task: UserTask) -> str:
        """The token that a login gives. Raises Failed or Refused."""
        moves = self._play_of(task, 0, []).steps()
        sending = next(moves)
        response, _ = self._send(sending.request, {})
        with suppress(StopIteration):
            moves.send(response)
        return str(sending.step.capture["token"].take("token", response))

    def get(self, path: str) -> Response:
        """The response to one GET beside the load: which revision responds. Raises Failed or Refused."""
        headers = {name: value.get_secret_value() for name, value in self._order.target.headers.items()}
        response, _ = self._send(Request("GET", self._base + path, headers), {})
        return response

    def _play_of(self, task: UserTask, variant: int, secrets: list[str]) -> Play:
        headers: Mapping[str, str] = task.headers
        if task.signed_in and self.token:
            headers = {**headers, "Authorization": f"Bearer {self.token}"}
        variants = task.variants
        values = Values(time.time(), self._rng)
        steps = variants[variant % len(variants)]
        return Play(steps, locate=lambda path: self._base + path, values=values, headers=headers, conceal=secrets.append)

    def _first_message(self, name: str, failed: Failed, secrets: list[str]) -> str:
        """What went wrong, without the file's secrets and what this user has captured. Only the first message is kept.

        It is cut here, so that all secrets must be known here: of one that is cut, a piece would be left.
        """
        known = self.record.tasks.get(name)
        if known is not None and str(failed.reason) in known.messages:
            return ""
        return Redactor([*secrets, self.token], self._known).text(failed.message)

    def _send_steps(self, name: str, moves: Moves, user: _UserState, due: float) -> None:
        """Sends what a play yields. The first request's time counts from when the user was due, each other's from the end before it.

        The time that a step waits by itself is in no request's.
        """
        intended = due
        sending = next(moves, None)
        while sending is not None:
            if sending.wait:
                gevent.sleep(sending.wait)
                intended += sending.wait
            sending, intended = self._send_step(name, sending, moves, user, intended)

    def _send_step(self, name: str, sending: Sending, moves: Moves, user: _UserState, intended: float) -> tuple[Sending | None, float]:
        """Sends one request and counts it: the next one, and when this one ended."""
        subject, begun = f"{name}/{sending.step.name}", self.now()
        reason, message, size, ended = "", "", 0, begun
        measured: dict[str, float] = {}
        following: Sending | None = None
        trouble: BaseException | None = None
        try:
            response, measured = self._send(sending.request, user.cookies, self._tasks[name].charset)
            size = len(response.body)
            ended = self.now()
            following = moves.send(response)
        except StopIteration:
            ended = self.now()
        except Failed as failed:
            trouble, reason, message = failed, str(failed.reason), self._first_message(subject, failed, user.secrets)
        except PolicyRefused as refused:
            trouble, reason, message = refused, str(Reason.POLICY), str(refused)
        except gevent.Timeout as late:
            trouble, reason, message = late, str(Reason.TIMEOUT), f"no response after {self.now() - begun:.1f} s"
        if trouble is not None:
            ended = self.now()
        step = f"step.{sending.step.name}"
        user.phases[step] = measured[step] = ended - intended
        user.phases.update({phase: seconds for phase, seconds in measured.items() if phase != step})
        done = Ended(intended, ended - intended, ended - begun, reason, message, measured)
        self.record.end_request(subject, done, self._subjects.get(subject, ()))
        if self._on_request is not None:
            self._on_request(
                request_type=sending.request.method,
                name=subject,
                response_time=(ended - intended) * 1000,
                response_length=size,
                exception=trouble,
                context={},
                start_time=time.time(),
                url=sending.request.url,
                response=None,
            )
        if trouble is not None:
            raise trouble
        return following, ended

    def _send(self, request: Request, cookies: dict[str, str], charset: str = "") -> tuple[Response, dict[str, float]]:
        """One request and its whole response; the time of its first piece where it streams. Redirects aren't followed."""
        self._filter.check(request)
        headers = {**self._agent, **request.headers}
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        begun = time.perf_counter()
        try:
            response = self._client.request(request.method, request.url[len(self._origin) :] or "/", body=request.body, headers=headers)
            measured = {}
            kind = str(response.get("content-type") or "")
            body = b""
            if kind.startswith("text/event-stream"):
                body = bytes(response.read(1))
                measured["first_token"] = time.perf_counter() - begun
            body += bytes(response.read())
        except FAILURE_EXCEPTIONS as error:
            raise Failed(*_reason_of(error)) from error
        except ValueError:  # its text holds the value, which may be a secret
            text = "the request can't be sent: a header or the path has characters that HTTP can't carry"
            raise Failed(Reason.PROTOCOL, text) from None
        seconds = time.perf_counter() - begun
        pairs = tuple((str(key).lower(), str(value)) for key, value in response.headers)
        whole = Response(response.get_code(), pairs, body, seconds, request.url, charset=charset)
        if whole.header("content-encoding") == "gzip":
            whole.body = _unzipped(body)
        for name, value in pairs:
            if name == "set-cookie":
                with suppress(CookieError):
                    cookies.update({key: morsel.value for key, morsel in SimpleCookie(value).items()})
        return whole, measured


def _unzipped(body: bytes) -> bytes:
    """The body, no larger than CAP. Raises Failed."""
    machine = zlib.decompressobj(_GZIP)
    try:
        whole = machine.decompress(body, CAP)
    except zlib.error as error:
        raise Failed(Reason.PROTOCOL, f"the body is not gzip: {error}") from error
    if machine.unconsumed_tail:
        raise Failed(Reason.SIZE, f"the body is larger than {CAP} bytes")
    return whole


def _reason_of(error: BaseException) -> tuple[Reason, str]:
    """What went wrong in sending, as probes report it. What this machine is short of is no result of the target's."""
    if shortage := _shortage(getattr(error, "errno", None)):
        return Reason.STARVED, shortage
    if isinstance(error, gevent.Timeout | TimeoutError):
        return Reason.TIMEOUT, f"no response: {error}"
    if isinstance(error, ConnectionRefusedError):
        return Reason.REFUSED, "the connection was refused"
    if isinstance(error, ConnectionError):
        return Reason.RESET, f"the connection was lost: {error}"
    if isinstance(error, gevent.socket.gaierror):
        return Reason.DNS, str(error)
    return (Reason.UNREACHABLE if isinstance(error, OSError) else Reason.PROTOCOL), f"{type(error).__name__}: {error}"


def _shortage(number: int | None) -> str:
    """What this machine has not enough of, by the number of an error; "" where it is another error."""
    if number in (errno.EMFILE, errno.ENFILE):
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return f"no file descriptors are left (a process may have {limit:,}); raise it with ulimit -n"
    if number == errno.EADDRNOTAVAIL:  # a target's address is the same for all requests, so that only ports can be used up
        return "no local port is left; widen net.ipv4.ip_local_port_range"
    return f"this machine is short of resources: {os.strerror(number)}" if number in SHORTAGES else ""
