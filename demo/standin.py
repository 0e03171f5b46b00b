"""The whole stand-in: API, TLS front, model, two booking partners, references, PostgreSQL and Redis, started and ended together.

    async with StandIn() as standin:
        plan = load("checks.yaml", environment=standin.environment())
        await standin.switch_on("db-down")

`environment()` names what the committed checks.yaml reads:

    API_URL                       the API over plain HTTP; it wants `X-Forwarded-Proto: https`, as the real one does
    API_HOST, API_PORT, API_CA    the TLS front, and the file with the authority that signed it; TLS=true
    METRICS=true, CONTRACT        the API's /metrics is compared with the guide's list; only in a clone, which has that file
    DATABASE_URL, REDIS_URL       the probe's own role and user
    AI_URL, AI_MODEL, AI_API      the model (scheme, host and port; Gemini's paths below /v1beta, OpenAI's below /v1); AI_API=gemini
    OPENTABLE_URL, RECREATION_URL, RECREATION_AVAILABILITY_URL   the partners, base path included
    PROBE_USER                    the e-mail of the probe's user
    SECRETS                       a folder with the files ai-key, opentable, recreation, probe-password
    REFERENCE_1, REFERENCE_2      URLs that answer 204 whatever fault is on
    STATE_DIR                     an empty folder
    ENVIRONMENT=demo, LOCATION=local, LOADABLE (true without limits; then API_LIMIT and STORY_BUDGET are far above any load)
"""

from __future__ import annotations

import asyncio
import secrets
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from demo._app import Api
from demo._cache import Cache
from demo._certificates import Certificates, make_certificates, server_context
from demo._database import Database, Gate
from demo._guard import Guard
from demo._model import Model
from demo._partners import OPENTABLE_BASE, RECREATION_AVAILABILITY, RECREATION_BASE, OpenTable, Recreation
from demo._process import HOST
from demo._site import Site
from demo._world import MODEL, PROBE_USER, REVISION, VERSION, Built, Delays, Secrets, World
from demo.built.api import BuiltApi
from demo.control import Control, Turn, announce, withdraw
from demo.faults import fault
from demo.servers import PostgresServer, RedisServer
from probes.core import Clock
from runner.clock import SystemClock

CONTRACT = Path(__file__).parents[1] / "infrastructure/monitoring/contract.yaml"
IN_A_CLONE = CONTRACT.is_file()  # an installed package has no such file
SECRET_FILES = {"ai-key": "ai_key", "opentable": "opentable", "recreation": "recreation", "probe-password": "probe_password"}


class StandIn:
    """The Road Trip Storyteller, played. `limits=False` lifts its limiter; `faults` are on from the start.

    `clock` rules limits, caches, days and the lock-out, so that a simulated day takes no day. `control` is where the
    running demo says how its faults are switched (demo.control); without it there is no control URL. `servers` are the
    caller's own, emptied at the start and left running and well at the end; without them it starts two, which takes more
    than a second. RuntimeError says which server did not start and why. `embedded` takes the packages' servers even
    where the system has some. `version` is the application's APP_VERSION, `revision` what its X-Revision says; both may be
    changed in `world` while it runs, as a deployment does. Empty: it doesn't tell. `built` plays the application as it is
    built, with the responses of its real modules (demo.built); without it, as the guide intends it.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        limits: bool = True,
        faults: Iterable[str] = (),
        delays: Delays | None = None,
        ports: tuple[int, int] = (0, 0),
        control: Path | None = None,
        servers: tuple[PostgresServer, RedisServer] | None = None,
        embedded: bool = False,
        version: str = VERSION,
        revision: str = REVISION,
        built: Built | None = None,
    ) -> None:
        self._wanted = [fault(name).name for name in faults]
        made = (secrets.token_urlsafe(24) for _ in range(5))
        self.world = World(clock or SystemClock(), Secrets(*made), delays or Delays(), limits, version, revision, built=built)
        self.postgres: PostgresServer
        self.redis: RedisServer
        self.postgres, self.redis = servers or (PostgresServer(embedded=embedded), RedisServer(embedded=embedded))
        self._borrowed = servers is not None
        self._ports = ports
        self._control_file = control
        self._sites: list[Site] = []
        self._stack = AsyncExitStack()
        self._switching = asyncio.Lock()

    async def __aenter__(self) -> Self:
        try:
            self.folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="outrider-standin-"))
            guard = await asyncio.to_thread(Guard, self.folder)
            self._stack.push_async_callback(asyncio.to_thread, guard.dismiss)
            self._stack.push_async_callback(asyncio.to_thread, shutil.rmtree, self.folder, ignore_errors=True)
            await asyncio.to_thread(self._fill, self.folder)
            await (self._borrow() if self._borrowed else self._start_servers())
            self._client = await asyncio.to_thread(lambda: httpx.AsyncClient(trust_env=False, verify=False))  # noqa: S501 - plain HTTP on loopback
            self._stack.push_async_callback(self._client.aclose)
            await self._start_sites()
            for name in self._wanted:
                await self.switch_on(name)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()

    @property
    def on(self) -> frozenset[str]:
        """The faults that are on."""
        return frozenset(self.world.faults)

    async def switch_on(self, name: str) -> None:
        """Plays a fault; nothing when it is on. Raises UnknownFault; RuntimeError or OSError when it can't be played now."""
        await self._switch("on", name)

    async def switch_off(self, name: str) -> None:
        """Ends a fault: everything is as before; nothing when it isn't on. Raises as switch_on."""
        await self._switch("off", name)

    def show_certificate(self, which: Literal["good", "expired", "wrong_host"]) -> None:
        """What the TLS front shows to every new connection."""
        self._tls.load_cert_chain(getattr(self.certificates, which))

    def environment(self) -> dict[str, str]:
        """The variables that point checks.yaml here; see the module."""
        return {
            "API_URL": self.api_site.url,
            "API_HOST": HOST,
            "API_PORT": str(self.tls_site.port),
            "API_CA": str(self.certificates.ca),
            "TLS": "true",
            **({"METRICS": "true", "CONTRACT": str(CONTRACT)} if IN_A_CLONE else {}),
            "DATABASE_URL": self.postgres.dsn,
            "REDIS_URL": self.redis.url,
            "AI_URL": self.ai_site.url,
            "AI_MODEL": MODEL,
            "AI_API": "gemini",
            "OPENTABLE_URL": self.opentable_site.url + OPENTABLE_BASE,
            "RECREATION_URL": self.recreation_site.url + RECREATION_BASE,
            "RECREATION_AVAILABILITY_URL": self.recreation_site.url + RECREATION_AVAILABILITY,
            "PROBE_USER": PROBE_USER,
            "SECRETS": str(self.folder / "secrets"),
            "REFERENCE_1": f"{self._reference_site.url}/generate_204",
            "REFERENCE_2": f"{self._reference_site.url}/",
            "STATE_DIR": str(self.folder / "state"),
            "ENVIRONMENT": "demo",
            "LOCATION": "local",
            "LOADABLE": "false" if self.world.limits else "true",
            **({} if self.world.limits else {"API_LIMIT": "1000000/1h", "STORY_BUDGET": "1000000/1d"}),
        }

    def write_environment(self, programs: Path, **more: str) -> Path:
        """`environment()` and `more` as a file that a shell reads (`. FILE`), so that other commands see this stand-in.

        It puts the folder `programs` on the PATH. It is its owner's alone.
        """
        file = self.folder / "environment"
        file.touch(mode=0o600)
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in (self.environment() | more).items()]
        file.write_text("".join([*lines, f'export PATH={shlex.quote(str(programs))}:"$PATH"\n']))
        return file

    async def _switch(self, turn: Turn, name: str) -> bool:
        """Returns whether that changed anything."""
        chosen = fault(name)
        async with self._switching:
            if (turn == "on") == (name in self.world.faults):
                return False
            if turn == "on":
                await chosen.on(self)
                self.world.faults.add(name)
            else:
                await chosen.off(self)
                self.world.faults.discard(name)
            return True

    async def _start_servers(self) -> None:
        started = await asyncio.gather(*map(self._stack.enter_async_context, (self.postgres, self.redis)), return_exceptions=True)
        for outcome in started:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _borrow(self) -> None:
        for server in (self.postgres, self.redis):
            await server.start()
            await server.thaw()
        await self.redis.empty()

    def _fill(self, folder: Path) -> None:
        for name in ("secrets", "state", "tls"):
            (folder / name).mkdir(mode=0o700)
        for name, attribute in SECRET_FILES.items():
            file = folder / "secrets" / name
            file.write_text(getattr(self.world.secrets, attribute) + "\n")
            file.chmod(0o600)
        self.certificates: Certificates = make_certificates(folder / "tls", self.world.clock.time(), time.time())
        self._tls = server_context(self.certificates.good)

    async def _start_sites(self) -> None:
        database = Database(self.postgres.app_dsn, Gate(self.world.delays.stuck))
        cache = Cache(self.redis.app_url, self.world.clock)
        self._stack.push_async_callback(cache.close)
        self._stack.push_async_callback(self._leave, database)
        await database.open(self.world.secrets.probe_password)
        self.ai_site = await self._serve(Site(Model(self.world).app()))
        self.opentable_site = await self._serve(Site(OpenTable(self.world).app()))
        self.recreation_site = await self._serve(Site(Recreation(self.world).app()))

        # What stands for the rest of the internet: it is there whatever happens to the application.
        async def nothing(_: Request) -> Response:
            return Response(status_code=204)

        self._reference_site = await self._serve(Site(Starlette(routes=[Route("/generate_204", nothing), Route("/", nothing)])))
        partners = {"opentable": self.opentable_site.url + OPENTABLE_BASE, "recreation": self.recreation_site.url + RECREATION_BASE}
        self.api: Api | BuiltApi
        if self.world.built is None:
            self.api = Api(self.world, database=database, cache=cache, client=self._client, ai_url=self.ai_site.url, partners=partners)
        else:
            self.api = BuiltApi(self.world, self.world.built, database=database, cache=cache, client=self._client, ai_url=self.ai_site.url)
        self.api_site = await self._serve(Site(self.api, port=self._ports[0]))
        self.tls_site = await self._serve(Site(self.api, port=self._ports[1], tls=self._tls))
        if self._control_file is not None:
            control = Control(self._switch, lambda: self.on)
            site = await self._serve(Site(control.app()))
            await asyncio.to_thread(announce, self._control_file, site.url, control.token)
            self._stack.push_async_callback(asyncio.to_thread, withdraw, self._control_file, control.token)

    async def _serve(self, site: Site) -> Site:
        await site.start()
        self._sites.append(site)
        return site

    async def _leave(self, database: Database) -> None:
        """Nobody waits any more, not even for a frozen database; then every port closes."""
        self.world.closing.set()
        await self.postgres.thaw()
        if self._borrowed:
            for name in sorted(self.world.faults):
                await self.switch_off(name)
        await asyncio.gather(*(site.stop() for site in self._sites))
        database.close()
