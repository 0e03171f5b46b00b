"""A gate that the always-on runner carries out: asked for, followed, and asked again where the connection was lost."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import httpx

from judge.baseline import Before
from judge.report import Report, from_json, report
from judge.verdict import Finding, Outcome, decide
from probes.http.standalone import StandaloneTransport, environment_proxy
from runner import our_version
from runner.cli._gate_options import Given
from runner.clock import SystemClock
from runner.gate.local import interruptible
from runner.usage import unusable

_LOOK = 20.0  # seconds that one question for news may be open
_PATIENCE = 120.0  # seconds for which a runner that can't be reached is asked again
_PAUSE = 1.0
_MOST_BYTES = 64 * 2**20  # of a report


async def via(given: Given, before: Before | None, *, tags: tuple[str, ...], checks: tuple[str, ...]) -> Report:
    """The runner's report. Ends the command with exit 2 for a request that it refuses; what it can't tell is inconclusive."""
    token = await asyncio.to_thread(_token, given.token_file)
    try:
        environment_proxy(httpx.URL(given.via))
    except (ValueError, httpx.InvalidURL) as error:
        unusable(f"--via {given.via}: {error}")
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": secrets.token_hex(16), "Prefer": "respond-async"}
    version = await asyncio.to_thread(our_version)  # it reads the installed metadata
    transport = StandaloneTransport(SystemClock(), user_agent=f"Outrider/{version}", cap=_MOST_BYTES)
    async with httpx.AsyncClient(transport=transport, base_url=given.via, headers=headers, timeout=_LOOK + 10.0) as client:
        return await _Caller(client, given.expect_revision).carried(_request(given, before, tags, checks))


def _token(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text("utf-8").strip()
        except OSError as error:
            unusable(f"--token-file {file}: {error.strerror or error}")
    token = os.environ.get("OPERATE_TOKEN", "").strip()
    return token or unusable("--via needs the runner's operate token: --token-file FILE, or $OPERATE_TOKEN")


def _request(given: Given, before: Before | None, tags: tuple[str, ...], checks: tuple[str, ...]) -> dict[str, Any]:
    told: dict[str, Any] = {"tags": list(tags), "checks": list(checks), "expect_revision": given.expect_revision}
    told |= {"wait": _duration(given.wait), "for": _duration(given.span), "rounds": given.rounds, "consecutive": given.consecutive}
    told |= {"require_slo": given.require_slo, "since": given.since or None}
    if given.fail_on_slower is not None:
        told["fail_on_slower"] = f"{given.fail_on_slower * 100:.6f}%"
    if before is not None:
        seconds = {name: list(values) for name, values in before.durations.items()}
        told["baseline"] = {"seconds": seconds, "revisions": dict(before.revisions), "said": before.said}
    return {name: value for name, value in told.items() if value not in (None, "", [], False)}


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds * 1000:.0f}ms"


class _LostError(Exception):
    """The runner can't be reached, or doesn't answer as one."""


class _Caller:
    """Asks one runner for one gate."""

    def __init__(self, client: httpx.AsyncClient, expect: str) -> None:
        self._client = client
        self._expect = expect
        self._id = ""
        self._shown = 0
        self._ended = False

    async def carried(self, request: Mapping[str, Any]) -> Report:
        """Its report, or one that says that nothing is proven."""
        clock, stop = SystemClock(), asyncio.Event()
        started, lost_at = clock.time(), clock.monotonic()
        with interruptible(stop):
            while True:
                try:
                    told = await (self._news(stop) if self._id else self._begin(request))
                    lost_at = clock.monotonic()
                except _LostError as lost:
                    if stop.is_set() or clock.monotonic() - lost_at > _PATIENCE:
                        return _nothing(str(lost), self._expect, started, clock.time())
                    click.echo(f"{lost}; trying again", err=True)
                    await _pause(stop)
                    continue
                if told is not None:
                    return told

    async def _begin(self, request: Mapping[str, Any]) -> None:
        answer = await self._ask("POST", "/api/gate", json=dict(request))
        self._id = str(answer["id"])
        click.echo(f"gate {self._id} runs at {self._client.base_url}", err=True)

    async def _news(self, stop: asyncio.Event) -> Report | None:

        if stop.is_set() and not self._ended:
            await self._ask("DELETE", f"/api/gate/{self._id}")
            self._ended = True
        asking = asyncio.create_task(self._ask("GET", f"/api/gate/{self._id}", params={"after": self._shown, "wait": _LOOK}))
        stopping = asyncio.create_task(stop.wait())
        waits = {asking} if self._ended else {asking, stopping}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not asking.done():
            asking.cancel()
            return None
        answer = asking.result()
        for text in answer["said"]:
            click.echo(text, err=True)
        self._shown = int(answer["next"])
        if answer["state"] == "running":
            return None
        try:
            return from_json(answer["report"])
        except (KeyError, TypeError, ValueError):
            raise _LostError("the runner's report can't be read: it may be of another version") from None

    async def _ask(self, method: str, path: str, **more: Any) -> Any:

        try:
            answer = await self._client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise _LostError(f"{self._client.base_url} can't be reached: {str(error) or type(error).__name__}") from None
        if answer.status_code == httpx.codes.NOT_FOUND:
            self._id, self._shown = "", 0  # the runner was restarted, and knows this gate no more: it is begun anew
        if answer.is_server_error or answer.status_code == httpx.codes.NOT_FOUND:
            raise _LostError(f"{self._client.base_url} answered {answer.status_code} to {method} {path}")
        if not answer.is_success:
            unusable(f"{self._client.base_url} refused the gate: {answer.status_code}, {_said(answer)}")
        try:
            return answer.json()
        except ValueError:
            raise _LostError(f"{self._client.base_url} did not return JSON: is it an Outrider runner?") from None


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()[:200]


async def _pause(stop: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(asyncio.sleep(_PAUSE)), asyncio.ensure_future(stop.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _nothing(why: str, expect: str, started: float, finished: float) -> Report:
    """The runner is lost: nothing is proven."""
    decision = decide((), also=[Finding(Outcome.INCONCLUSIVE, why)])
    return report(decision, (), started=started, finished=finished, revision=expect)
