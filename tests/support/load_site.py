"""A target for loads that misbehaves on cue, and `outrider load` against it as a process."""

from __future__ import annotations

import asyncio
import ssl
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from demo._watchdog import children
from loadtests.result import LoadReport, report_from

ROOT = Path(__file__).parents[2]
CONFIG = """
version: 1
targets:
  api: {{url: "http://127.0.0.1:{port}", load: true, allow: [POST /login, POST /leave], revision: {{path: /version, json: $.version}}}}
slos:
  p95: {{objective: 95%, threshold: 500ms}}
  p99: {{objective: 99%, threshold: 500ms}}
load:
  ceiling: {{rate: 50000/s, duration: 1m}}
  scenarios:
    page: {{mix: {{page: 1}}, slos: [p99]}}
    visit: {{mix: {{visit: 1}}, slos: [p95]}}
checks:
  page: {{kind: journey, target: api, steps: [{{name: page, get: /page}}]}}
  visit:
    kind: journey
    target: api
    headers: {{X-Client: outrider}}
    steps:
      - {{name: login, post: /login, form: {{user: "a b", password: "p&q"}}, capture: {{token: $.token}}}}
      - name: look
        get: /things/{{{{token}}}}
        query: {{near: "37.8,-122.4"}}
        headers: {{Authorization: "Bearer {{{{token}}}}"}}
        expect: {{json: {{$.ok: true}}}}
      - {{name: leave, post: /leave, json: {{token: "{{{{token}}}}"}}, always: true}}
"""
ANSWER = b'{"ok": true, "token": "t/1", "learnt": "t/1-learnt", "version": "%s"}'


class Site:
    """A target on a free port that keeps what it was asked, and calls `at[n]` when the n-th page is asked for."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.asked: list[tuple[str, str, str, bytes]] = []
        self.version = b"1.0.0"
        self.pages = 0
        self.shut = False  # closes instead of answering a page
        self.at: dict[int, Callable[[], Awaitable[object]]] = {}
        self._open = asyncio.Event()
        self._open.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open.set()
        self._server.close()

    async def stall(self, seconds: float = 1.0) -> None:
        """Answers nobody for so long, and then all at once."""
        self._open.clear()
        asyncio.get_running_loop().call_later(seconds, self._open.set)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, path, _ = head.split(" ", 2)
                fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in head.split("\r\n")[1:])}
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                self.asked.append((method, path, fields.get("authorization", "") + fields.get("x-client", ""), body))
                if path == "/page":
                    self.pages += 1
                    if self.pages in self.at:
                        await self.at[self.pages]()
                    await self._open.wait()
                    if self.shut:
                        break
                answer = body if path == "/echo" else ANSWER % self.version
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
        writer.close()


class Run:
    """`outrider` as a process: its pid, and what it said in the end. `limits` are options of prlimit(1)."""

    def __init__(self, site: Site, folder: Path, config: str = CONFIG, *, limits: tuple[str, ...] = ()) -> None:
        self._limited = ("prlimit", *limits) if limits else ()
        self._config = folder / "checks.yaml"
        self._config.write_text(config.format(port=site.port))
        self.pid = 0

    async def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        command = (*self._limited, sys.executable, "-m", "runner.cli", *words, "--config", str(self._config))
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=PIPE)
        self.pid = process.pid
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def load(self, *words: str) -> tuple[int, LoadReport]:
        """`outrider load --json`."""
        code, out, err = await self("load", *words, "--json")
        assert out, err
        assert "Traceback" not in err, err
        assert "failed with" not in err, err  # gevent's word for what came back to its loop
        return code, report_from(out)

    async def sending(self) -> int:
        """The process that sends, or the workers' master."""
        return (await asyncio.to_thread(children, self.pid))[0]

    async def worker(self) -> int:
        """One of the workers."""
        return (await asyncio.to_thread(children, await self.sending()))[0]
