"""A gate that the always-on runner carries out: asked for, followed, and asked again where the connection was lost."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from judge.baseline import Before
from judge.redact import Redactor
from judge.report import Report, from_json, report
from judge.verdict import Finding, Outcome, decide
from probes.http.standalone import StandaloneTransport, environment_proxy
from probes.text import age
from runner import our_version
from runner.clock import SystemClock
from runner.gate.gate import sleep_unless
from runner.gate.local import interruptible
from runner.gate.settings import GateSettings
from runner.usage import unusable

_LOOK = 20.0  # seconds that one question for news may be open
_PATIENCE = 120.0  # seconds for which a runner that can't be reached is asked again
_PAUSE = 1.0
_MOST_BYTES = 64 * 2**20  # of a report


async def gate_via(url: str, token: str, request: Mapping[str, Any], *, wait: float, say: Callable[[str], None]) -> Report:
    """The runner's report. Ends the command with exit 2 for a request that it refuses; what it can't tell is inconclusive.

    A runner carries out one gate at a time: while it is busy with another, this one waits for its turn, for `wait` seconds at most.
    """
    try:
        environment_proxy(httpx.URL(url))
    except ValueError as error:
        unusable(f"--via can't be asked: {error}")
    except httpx.InvalidURL:
        unusable("--via is no address; write it like http://127.0.0.1:9797")
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": secrets.token_hex(16), "Prefer": "respond-async"}
    version = await asyncio.to_thread(our_version)  # it reads the installed metadata
    transport = StandaloneTransport(SystemClock(), user_agent=f"Outrider/{version}", cap=_MOST_BYTES)
    async with httpx.AsyncClient(transport=transport, base_url=url, headers=headers, timeout=_LOOK + 10.0) as client:
        return await _RemoteGate(client, request, wait, say, Redactor([token])).run()


def request_of(settings: GateSettings, before: Before | None, **more: Any) -> dict[str, Any]:
    """The body of POST /api/gate: the settings that were given, in seconds and shares, and what else is not empty."""
    request = settings.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if before is not None:
        seconds = {name: list(values) for name, values in before.durations.items()}
        request["baseline"] = {"seconds": seconds, "revisions": dict(before.revisions), "said": before.source}
    return request | {name: value for name, value in more.items() if value}


class _BusyError(Exception):
    """The runner carries out another gate; its id is the message."""


class _LostError(Exception):
    """The runner can't be reached, or doesn't answer as one."""


class _RemoteGate:
    """Asks one runner for one gate."""

    def __init__(
        self, client: httpx.AsyncClient, request: Mapping[str, Any], wait: float, say: Callable[[str], None], redactor: Redactor
    ) -> None:
        self._client = client
        self._request = request
        self._wait = wait  # seconds
        self._say = say
        self._redactor = redactor  # of the token: what responds may be no runner, and may show what it was sent
        self._id = ""
        self._lines = 0  # how many lines of the gate were shown
        self._ended = False

    async def run(self) -> Report:
        """The report, or one that says that nothing is proven."""
        clock, stop = SystemClock(), asyncio.Event()
        started, reached_at = clock.time(), clock.monotonic()
        queued_at, busy_with = None, ""
        with interruptible(stop, self._say):
            while True:
                try:
                    if not self._id:
                        self._id = str((await self._ask("POST", "/api/gate", json=dict(self._request)))["id"])
                        self._say(f"gate {self._id} runs at {self._client.base_url}")
                    elif (found := await self._news(stop)) is not None:
                        return found
                    reached_at, queued_at = clock.monotonic(), None
                    continue
                except _BusyError as busy:
                    reached_at = clock.monotonic()
                    queued_at = reached_at if queued_at is None else queued_at
                    left = self._wait - (reached_at - queued_at)
                    why, is_over = f"{self._client.base_url} runs another gate ({busy})", left <= 0
                    if str(busy) != busy_with:
                        busy_with = str(busy)
                        self._say(
                            f"{self._client.base_url} runs another gate ({busy}); waiting for its end, for {age(left)} at most (--wait)"
                        )
                except _LostError as lost:
                    why, is_over = str(lost), clock.monotonic() - reached_at > _PATIENCE
                    if not is_over:
                        self._say(f"{lost}; trying again")
                if is_over or stop.is_set():
                    why = f"{why}; run again" if is_over else f"interrupted: {why}"
                    expect = str(self._request.get("expect_revision", ""))
                    decision = decide((), also=[Finding(Outcome.INCONCLUSIVE, why)])
                    return report(decision, (), started=started, finished=clock.time(), revision=expect)
                await sleep_unless(stop, _PAUSE)

    async def _news(self, stop: asyncio.Event) -> Report | None:
        """Shows the lines since the last look. The report, once there is one."""
        if stop.is_set() and not self._ended:
            await self._ask("DELETE", f"/api/gate/{self._id}")
            self._ended = True
        asking = asyncio.create_task(self._ask("GET", f"/api/gate/{self._id}", params={"after": self._lines, "wait": _LOOK}))
        stopping = asyncio.create_task(stop.wait())
        waits = {asking} if self._ended else {asking, stopping}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not asking.done():
            asking.cancel()
            return None
        news = asking.result()
        for text in news["said"]:
            self._say(text)
        self._lines = int(news["next"])
        if news["state"] == "running":
            return None
        try:
            return from_json(news["report"])
        except (KeyError, TypeError, ValueError):
            raise _LostError("the runner's report can't be read: it may be of another version") from None

    async def _ask(self, method: str, path: str, **more: Any) -> Any:
        try:
            response = await self._client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise _LostError(f"{self._client.base_url} can't be reached: {str(error) or type(error).__name__}") from None
        if response.status_code == httpx.codes.NOT_FOUND:
            self._id, self._lines = "", 0  # the runner was restarted, and knows this gate no more: it is begun anew
        if response.status_code == httpx.codes.CONFLICT and method == "POST":
            raise _BusyError(self._field_of(response, "id"))
        if response.is_server_error or response.status_code in (httpx.codes.NOT_FOUND, httpx.codes.TOO_MANY_REQUESTS):
            raise _LostError(f"{self._client.base_url} answered {response.status_code} to {method} {path}")
        if not response.is_success:
            unusable(f"{self._client.base_url} refused the gate: {response.status_code}, {self._field_of(response, 'error')}")
        try:
            return self._redactor.tree(response.json())
        except (ValueError, RecursionError):
            raise _LostError(f"{self._client.base_url} did not return JSON: is it an Outrider runner?") from None

    def _field_of(self, response: httpx.Response, name: str) -> str:
        """A text of the runner's JSON, without the token; the beginning of what it responded where that is none."""
        try:
            return self._redactor.text(str(response.json()[name]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return self._redactor.text(response.text.strip())[:200]
