"""Plays a task over gevent: the same interpreter (probes.journeys.play.Play) as the probes', with Locust's FastHttp client under it."""

from __future__ import annotations

import math
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
from loadtests.order import Order, SloOrder
from loadtests.record import Ended, Record
from loadtests.tasks import Playable
from probes.core import Failed, Reason
from probes.http.message import Request, Response
from probes.journeys.play import Moves, Play, Sending
from probes.target import Target

LEAVING = 5.0  # seconds for the steps that are `always`
_GLANCE = 0.1
CAP = 4 * 1024 * 1024  # bytes of an answer
_GZIP = 31  # zlib's word for it
Fire = Callable[..., None] | None  # Locust's request event, where somebody reads Locust's own statistics


class Refused(Exception):  # noqa: N818 - what was done
    """The target's rules don't let this be sent; nothing was."""


@dataclass(slots=True)
class _Own:
    """What one playing has of its own: cookies, the seconds of its steps and phases, the secrets that it has learnt."""

    jar: dict[str, str] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    learnt: list[str] = field(default_factory=list)


class Gate:
    """The one place where a load's request is let through: the target's own rules, remembered by method and URL."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._known: dict[tuple[str, str], str | None] = {}

    def pass_through(self, request: Request) -> None:
        """Raises Refused."""
        key = request.method, request.url
        if key not in self._known:
            if len(self._known) > 10_000:  # noqa: PLR2004 - paths with captured values could be without number
                self._known.clear()
            self._known[key] = self._target.refusal(*key)
        if refusal := self._known[key]:
            raise Refused(refusal)


class Rider:
    """One worker's way of playing tasks and counting what comes of them. `begin` is the start of the run by `perf_counter`."""

    def __init__(
        self, order: Order, tasks: Mapping[str, Playable], subjects: Mapping[str, tuple[SloOrder, ...]], client: HTTPClient, fire: Fire
    ) -> None:
        self._order, self._tasks, self._subjects, self._client, self._fire = order, tasks, subjects, client, fire
        self.target = Target.model_validate(order.target)
        self._gate = Gate(self.target)
        self._base = str(order.target["url"]).rstrip("/")
        self._agent = {"User-Agent": f"Outrider/{order.version or '0'} (load test)", "Accept-Encoding": "gzip"}
        self._origin = self._base[: len(self._base) - len(urlsplit(self._base).path)]
        self._leaves = {name for name, task in tasks.items() if any(step.always for step in task.steps)}
        self.record = Record()
        self.begin = 0.0
        self.token = ""
        self.in_flight = 0
        self._deadlines: dict[Any, float] = {}

    def now(self) -> float:
        """Seconds since the start of the run."""
        return time.perf_counter() - self.begin

    def ride(self, name: str, variant: int, due: float) -> None:
        """Plays a task that was due at this time, whatever the time is now, and counts it. Whoever calls it adds to `in_flight`."""
        task = self._tasks[name]
        begun = self.now()
        me = gevent.getcurrent()
        self._deadlines[me] = begun + task.timeout
        self.record.start(name, due, begun - due)
        reason, message = "", ""
        own = _Own()
        play = self._play(task, variant, own.learnt)
        try:
            self._moves(name, play.steps(), own, due)
        except Failed as failed:
            reason, message = str(failed.reason), self._said(name, failed, own.learnt)
        except Refused as refused:
            reason, message = str(Reason.POLICY), str(refused)
        except gevent.Timeout:
            reason, message = str(Reason.TIMEOUT), f"not done within {task.timeout:g} s"
        ended = self.now()
        slos = self._subjects.get(name, ())
        self.record.end_task(name, Ended(due, ended - due, ended - begun, reason, message, own.phases), slos)
        if name in self._leaves:
            self._deadlines[me] = ended + LEAVING
            self._leave(task, play, own)
        del self._deadlines[me]
        self.in_flight -= 1

    def cut(self, now: float = math.inf) -> None:
        """Tells those whose time is over by `now` (all of them without one) that it is: gevent.Timeout, and they count themselves."""
        for greenlet, deadline in list(self._deadlines.items()):
            if deadline <= now:
                self._deadlines[greenlet] = math.inf
                gevent.get_hub().loop.run_callback(self._tell_late, greenlet)

    def _tell_late(self, greenlet: Any) -> None:
        """Unless it has come to its end meanwhile: what is thrown at a greenlet that has ended comes back to the loop."""
        if greenlet in self._deadlines:
            greenlet.throw(gevent.Timeout())

    def watch(self) -> None:
        """Holds everyone under way to their time, ten times a second: a timer for each would cost more than it tells."""
        while True:
            gevent.sleep(_GLANCE)
            self.cut(self.now())

    def give_up(self, name: str, due: float) -> None:
        """An arrival that can't begin, since too many are under way: bad for whatever its task is judged by."""
        self.record.drop(name, due)
        for subject in (name, f"{name}/{self._tasks[name].steps[0].name}"):
            self.record.lose(subject, due, self._subjects.get(subject, ()))

    def log_in(self, task: Playable) -> str:
        """The token that a login gives. Raises Failed, Refused or an error of the network."""
        moves = self._play(task, 0, []).steps()
        sending = next(moves)
        answer, _ = self._send(sending.request, {})
        with suppress(StopIteration):
            moves.send(answer)
        return str(sending.step.capture["token"].take("token", answer))

    def ask(self, path: str) -> Response:
        """One GET beside the load: which revision answers. Raises as log_in."""
        answer, _ = self._send(Request("GET", self._base + path, dict(self._order.target_headers)), {})
        return answer

    def _play(self, task: Playable, variant: int, learnt: list[str]) -> Play:
        headers = task.headers
        if task.needs_token and self.token:
            headers = {**headers, "Authorization": f"Bearer {self.token}"}
        return Play(task.variants[variant % len(task.variants)], locate=self._locate, headers=headers, conceal=learnt.append)

    def _said(self, name: str, failed: Failed, learnt: list[str]) -> str:
        """What went wrong, without what this playing has learnt (a token that an answer repeats). Only the first one is kept."""
        known = self.record.sums.get(name)
        if known is not None and str(failed.reason) in known.said:
            return ""
        return Redactor([*learnt, self.token]).text(failed.message)

    def _locate(self, path: str) -> str:
        return self._base + path

    def _moves(self, name: str, moves: Moves, own: _Own, due: float) -> None:
        """Sends what comes out of a play. The first request's time counts from when the user was due, each other's from its turn."""
        intended = due
        sending = next(moves, None)
        while sending is not None:
            sent, intended = self._one(name, sending, moves, own, intended)
            sending = sent

    def _one(self, name: str, sending: Sending, moves: Moves, own: _Own, intended: float) -> tuple[Sending | None, float]:
        subject, begun = f"{name}/{sending.step.name}", self.now()
        reason, message, size, ended = "", "", 0, begun
        measured: dict[str, float] = {}
        following: Sending | None = None
        trouble: BaseException | None = None
        try:
            answer, measured = self._send(sending.request, own.jar)
            size = len(answer.body)
            ended = self.now()
            following = moves.send(answer)
        except StopIteration:
            ended = self.now()
        except Failed as failed:
            trouble, reason, message = failed, str(failed.reason), self._said(subject, failed, own.learnt)
        except Refused as refused:
            trouble, reason, message = refused, str(Reason.POLICY), str(refused)
        except gevent.Timeout as late:
            trouble, reason, message = late, str(Reason.TIMEOUT), f"no response after {self.now() - begun:.1f} s"
        if trouble is not None:
            ended = self.now()
        step = f"step.{sending.step.name}"
        own.phases[step] = measured[step] = ended - intended
        own.phases.update({phase: seconds for phase, seconds in measured.items() if phase != step})
        done = Ended(intended, ended - intended, ended - begun, reason, message, measured)
        self.record.end_request(subject, done, self._subjects.get(subject, ()))
        if self._fire is not None:
            self._fire(
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

    def _send(self, request: Request, jar: dict[str, str]) -> tuple[Response, dict[str, float]]:
        """One request and its whole answer; the time of its first piece where it streams. Redirects aren't followed."""
        self._gate.pass_through(request)
        headers = {**self._agent, **request.headers}
        if jar:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
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
            raise Failed(*_trouble(error)) from error
        except ValueError:  # its text holds the value, which may be a secret
            text = "the request can't be sent: a header or the path has characters that HTTP can't carry"
            raise Failed(Reason.PROTOCOL, text) from None
        seconds = time.perf_counter() - begun
        pairs = tuple((str(key).lower(), str(value)) for key, value in response.headers)
        answer = Response(response.get_code(), pairs, body, seconds, request.url)
        if answer.header("content-encoding") == "gzip":
            answer.body = _unzipped(body)
        _keep(jar, pairs)
        return answer, measured

    def _leave(self, task: Playable, play: Play, own: _Own) -> None:
        """The steps that are `always`: sent, counted as requests, judged by nobody."""
        try:
            self._moves(task.name, play.cleanup(), _Own(jar=own.jar, learnt=own.learnt), self.now())
        except (Failed, Refused, gevent.Timeout):
            return  # it is among its request's errors


def _unzipped(body: bytes) -> bytes:
    """The body, no larger than may be. Raises Failed."""
    machine = zlib.decompressobj(_GZIP)
    try:
        whole = machine.decompress(body, CAP)
    except zlib.error as error:
        raise Failed(Reason.PROTOCOL, f"the body is not gzip: {error}") from error
    if machine.unconsumed_tail:
        raise Failed(Reason.SIZE, f"the body is larger than {CAP} bytes")
    return whole


def _keep(jar: dict[str, str], pairs: tuple[tuple[str, str], ...]) -> None:
    """Each arrival is a user with cookies of its own."""
    for name, value in pairs:
        if name == "set-cookie":
            try:
                jar.update({key: morsel.value for key, morsel in SimpleCookie(value).items()})
            except CookieError:
                continue


def _trouble(error: BaseException) -> tuple[Reason, str]:
    """What went wrong in sending, in the words that probes have for it."""
    if isinstance(error, gevent.Timeout | TimeoutError):
        return Reason.TIMEOUT, f"no response: {error}"
    if isinstance(error, ConnectionRefusedError):
        return Reason.REFUSED, "the connection was refused"
    if isinstance(error, ConnectionError):
        return Reason.RESET, f"the connection was lost: {error}"
    if isinstance(error, gevent.socket.gaierror):
        return Reason.DNS, str(error)
    return (Reason.UNREACHABLE if isinstance(error, OSError) else Reason.PROTOCOL), f"{type(error).__name__}: {error}"
