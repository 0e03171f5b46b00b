"""Asking a runner over its API: where it is, with which token, and what a refusal says.

It uses the standard library: a command that asks one thing needs no HTTP client that takes half a second to import.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from runner.cli._options import Command
from runner.usage import unusable

_MOST_BYTES = 4 * 2**20  # of a response
_SECRET = 4  # characters of a token that is looked for in what was answered; a shorter one stands in every sentence
_SUCCESS = range(200, 300)


class RunnerError(Exception):
    """The runner can't be reached, or doesn't answer as one; the message is for a person."""


class RefusedError(Exception):
    """The runner refused the request; the message is its own."""


def runner_options(command: Command) -> Command:
    """--via and --token-file: which runner, and its operate token."""
    token = "The runner's operate token.  [default: $OPERATE_TOKEN]"  # noqa: S105 - a help text
    command = click.option("--token-file", type=click.Path(path_type=Path), help=token)(command)
    return click.option("--via", default=None, metavar="URL", help="The runner.  [default: http://$LISTEN, or http://127.0.0.1:9797]")(
        command
    )


def own_address() -> str:
    """Where the runner of this machine listens; the loopback if it listens on all addresses."""
    host, _, port = os.environ.get("LISTEN", "127.0.0.1:9797").rpartition(":")
    return f"{'127.0.0.1' if host in ('', '0.0.0.0', '[::]', '::') else host}:{port}"  # noqa: S104 - compared, not bound


def read_token(file: Path | None, variable: str = "OPERATE_TOKEN") -> str:
    """The token of a file, or else of the environment; "" where there is none."""
    if file is None:
        return os.environ.get(variable, "").strip()
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        unusable(f"--token-file {file}: {getattr(error, 'strerror', None) or 'it is not text'}")


@dataclass(frozen=True, slots=True)
class Runner:
    """A runner that can be asked. `timeout` in seconds for each request."""

    url: str
    token: str
    timeout: float = 10.0

    @classmethod
    def at(cls, via: str | None, token: str, timeout: float = 10.0) -> Runner:
        """Ends the command with exit 2 where the address is none; its own words may hold a password, and aren't shown."""
        url = via or f"http://{own_address()}"
        try:
            split = urlsplit(url)
            sound = split.scheme in ("http", "https") and bool(split.hostname) and (split.port or 1) > 0 and split.username is None
        except ValueError:
            sound = False
        if not sound:
            unusable(f"{'--via' if via else 'LISTEN'} is no address of a runner; write it like http://127.0.0.1:9797")
        return cls(url.rstrip("/"), token, timeout)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of the response. Raises RunnerError and RefusedError."""
        split = urlsplit(self.url)
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        data = None if body is None else json.dumps(body).encode()
        try:
            if split.scheme == "https":
                context = ssl.create_default_context()
                connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                    split.hostname or "", split.port, timeout=self.timeout, context=context
                )
            else:
                connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=self.timeout)
            try:
                connection.request(method, f"{split.path}{path}", data, headers)
                response = connection.getresponse()
                status, text = response.status, response.read(_MOST_BYTES).decode("utf-8", "replace").strip()
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RunnerError(
                f"no runner responds at {self.url}: {type(error).__name__ if isinstance(error, ValueError) else error}"
            ) from None
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if status in _SUCCESS and found is not None:
            return found
        reason = found.get("error", text) if isinstance(found, dict) else text
        if status in (http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN, http.HTTPStatus.NOT_FOUND):
            shown = str(reason).replace(self.token, "[secret]") if len(self.token) >= _SECRET else str(reason)
            raise RefusedError(shown[:2000])
        raise RunnerError(f"{self.url} answered {status} to {method} {path}: is it an Outrider runner?")


def exit_for(error: Exception) -> click.exceptions.Exit:
    """Prints why a request came to nothing, and is the exit 1 to raise."""
    click.echo(str(error), err=True)
    return click.exceptions.Exit(1)
