"""`outrider heartbeat`: reports a job's run to its check, and wraps the job's command."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import click

from runner.cli._operate import RefusedError, Runner, RunnerError, own_address
from runner.usage import Unusable

_TIMEOUT = 5.0  # seconds for each try
_PAUSES = (1.0, 3.0, 10.0)  # seconds before the next try to report an end
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as shells say it
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
_OF_A_TERMINAL = (signal.SIGINT, signal.SIGQUIT)  # a terminal sends them to the command as well


@click.command("heartbeat", short_help="Report a job's run to its check, or wrap the job's command.")
@click.argument("name")
@click.argument("words", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--start", is_flag=True, help="Without a command: a run begins.")
@click.option("--exit", "code", type=int, default=0, help="Without a command: the exit code of the run that has ended.  [default: 0]")
@click.option("--message", default="", help="What else to say of the run.")
@click.option("--via", envvar="HEARTBEAT_URL", metavar="URL", help="The runner.  [default: $HEARTBEAT_URL, or http://$LISTEN]")
@click.option("--token-file", type=click.Path(path_type=Path), help="The check's token.  [default: $HEARTBEAT_TOKEN]")
def command(name: str, words: tuple[str, ...], code: int, message: str, via: str | None, token_file: Path | None, *, start: bool) -> None:
    """Report a job's run to its check of kind heartbeat.

    With a command: run it, pass its output and signals through, and report its start, its end and its exit code. The exit code is that
    of the command, also when the runner can't be reached; standard error says so then. Without a command: exit 0, or 1 with the reason.
    """
    path, problem, runner = f"/heartbeat/{quote(name, safe='')}", "", None
    try:
        runner = Runner.at(via or f"http://{own_address()}", _token(token_file), _TIMEOUT)
    except (Unusable, OSError, UnicodeDecodeError) as error:
        problem = str(error)
    if not words:
        report: dict[str, Any] = {"state": "start"} if start else {"exit": code}
        problem = _send(runner, path, report | {"message": message[:2000]}) if runner else problem
        if problem:
            _complain(name, problem)
        raise click.exceptions.Exit(1 if problem else 0)
    run = secrets.token_hex(8)
    if problem := _send(runner, path, {"state": "start", "run": run}) if runner else problem:
        _complain(name, problem)
    began = time.monotonic()
    code, outcome = _run(words)
    end = {"exit": code, "seconds": time.monotonic() - began, "run": run, "message": (message or outcome)[:2000]}
    for pause in (*_PAUSES, None) if runner else ():
        if not (problem := _send(runner, path, end)) or problem.startswith("refused") or pause is None:
            break
        time.sleep(pause)
    if problem:
        _complain(name, problem)
    raise click.exceptions.Exit(code)


def _send(runner: Runner | None, path: str, report: Mapping[str, Any]) -> str:
    """Sends a heartbeat. Returns what went wrong, or nothing."""
    try:
        if runner:
            runner.ask("POST", path, report)
    except RunnerError as error:
        return str(error)
    except RefusedError as error:
        return f"refused: {error}"
    return ""


def _run(words: tuple[str, ...]) -> tuple[int, str]:
    """Runs the command with our own streams. Its exit code, as a shell gives it, and what to say of it."""
    try:
        with _signals() as passing:
            process = subprocess.Popen(words)  # noqa: S603 - the user's own command
            passing(process.send_signal)
            code = process.wait()
    except OSError as error:
        click.echo(f"{words[0]}: {error.strerror}", err=True)
        return (_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE), f"{words[0]}: {error.strerror}"
    if code >= 0:
        return code, ""
    return 128 - code, f"ended by {signal.Signals(-code).name}"


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[Callable[[int], None]], None]]:
    """Passes signals on to the command, also those that come before it has begun; it decides when it ends."""
    early: list[int] = []
    target: list[Callable[[int], None]] = []

    def passed(number: int, _: FrameType | None) -> None:
        if number in _OF_A_TERMINAL:
            return
        if target:
            target[0](number)
        else:
            early.append(number)

    def begin(send: Callable[[int], None]) -> None:
        target.append(send)
        for number in early:
            send(number)

    before = {number: signal.signal(number, passed) for number in (*_PASSED_ON, *_OF_A_TERMINAL)}
    try:
        yield begin
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _token(file: Path | None) -> str:
    return file.read_text("utf-8").strip() if file else os.environ.get("HEARTBEAT_TOKEN", "").strip()


def _complain(name: str, problem: str) -> None:
    click.echo(f"outrider heartbeat {name}: {problem}", err=True)
