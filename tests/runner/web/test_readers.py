"""Readers beside the checks: rendered once for all, for a bounded share of the time, and never stale."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from runner.web.readers import Pace, Rendered
from tests.support.observations import made_check, passed
from tests.support.site import site
from tests.support.virtual import virtually


@dataclass
class Press:
    """Counts its renderings; each takes a second of processor time."""

    version: int = 0
    made: list[int] = field(default_factory=list)
    seconds: Iterator[float] = field(default_factory=lambda: iter(range(10_000)))

    def rendered(self) -> Rendered:
        """What is tested."""
        return Rendered(lambda: next(self.seconds))

    def begin(self) -> Callable[[], bytes]:
        """The version at this moment."""
        now = self.version
        self.made.append(now)
        return lambda: b"%d" % now


@virtually
async def test_many_readers_are_one_rendering() -> None:
    """XM12: a hundred readers at once are shown the same; later ones too, until something changes."""
    press = Press()
    shown = press.rendered()
    assert set(await asyncio.gather(*(shown.get("/", press.begin, lambda: press.version) for _ in range(100)))) == {b"0"}
    assert await shown.get("/", press.begin, lambda: press.version) == b"0"
    assert press.made == [0]
    press.version = 1
    assert await shown.get("/", press.begin, lambda: press.version) == b"1"
    assert press.made == [0, 1]


@virtually
async def test_rendering_takes_a_tenth_of_the_time() -> None:
    """XM12: after a rendering of a second, the next one begins ten seconds later, and shows what is true by then."""
    press, loop = Press(), asyncio.get_running_loop()
    shown, began = press.rendered(), loop.time()
    await shown.get("/", press.begin)
    waiting = [asyncio.create_task(shown.get(key, press.begin)) for key in ("/", "/", "/checks/api", "/")]
    loop.call_later(5, setattr, press, "version", 7)
    assert await asyncio.gather(*waiting) == [b"7"] * 4
    assert press.made == [0, 7, 7]
    assert loop.time() - began == pytest.approx(20, abs=0.1)


@virtually
async def test_a_reader_that_leaves_takes_nothing_from_the_others() -> None:
    """XM12: the one who asked first goes away; the others get their page."""
    press = Press()
    shown = press.rendered()
    first, second = (asyncio.create_task(shown.get("/", press.begin)) for _ in range(2))
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: loop.call_soon(first.cancel))
    assert await second == b"0"
    assert press.made == [0]


@virtually
async def test_few_renderings_are_kept() -> None:
    """XM12: who asks for every check's page once fills no memory."""
    press = Press()
    shown = press.rendered()
    for number in range(40):
        await shown.get(f"/checks/{number}", press.begin, lambda: press.version)
    assert len(shown._kept) == 16


@virtually
async def test_requests_begin_one_after_another() -> None:
    """XM12: 500 requests begin in a second, however many come; after a pause none waits."""
    pace, loop = Pace(), asyncio.get_running_loop()
    began = loop.time()
    assert set(await asyncio.gather(*(pace.turn(10.0) for _ in range(1001)))) == {True}
    assert loop.time() - began == pytest.approx(2.0, abs=0.01)
    over = asyncio.Event()
    loop.call_later(1, over.set)
    await over.wait()
    began = loop.time()
    assert await pace.turn(0.0)
    assert loop.time() == began


@virtually
async def test_a_flood_makes_no_queue_without_end() -> None:
    """XM12: of 10,000 requests in an instant 500 get their turn within a second, and the others take none from who comes later."""
    pace, loop = Pace(), asyncio.get_running_loop()
    began = loop.time()
    came = await asyncio.gather(*(pace.turn(1.0) for _ in range(10_000)))
    assert sum(came) == pytest.approx(500, abs=2)
    assert loop.time() - began == pytest.approx(1.0, abs=0.01)
    assert await pace.turn(0.1)


@pytest.mark.parametrize(("path", "status"), [("/-/healthy", 200), ("/metrics", 200), ("/", 503), ("/api/checks", 503)])
def test_a_flood_keeps_no_orchestrator_out(path: str, status: int) -> None:
    """XM1: while more comes than may begin, /-/healthy and /metrics respond after a moment; a page is refused with a time to ask again."""
    here = site()

    @virtually
    async def run() -> None:
        flood = [asyncio.create_task(here.ask("/static/page.css")) for _ in range(800)]
        loop = asyncio.get_running_loop()
        turn = asyncio.Event()
        loop.call_later(0.001, turn.set)
        await turn.wait()
        answer = await here.ask(path)
        assert (answer.status_code, answer.headers.get("retry-after")) == (status, "2" if status == 503 else None)
        await asyncio.gather(*flood)

    run()
    assert {reason for reason, _ in here.refused} == {"busy"}


@pytest.mark.parametrize("path", ["/", "/checks/api", "/api/checks", "/api/checks/api", "/health/metrics", "/metrics"])
async def test_nothing_old_is_shown(path: str) -> None:
    """XM12: after a run, every page shows it at once."""
    here = site()
    before = (await here.ask(path)).text
    assert (await here.ask(path)).status_code in {200, 503}
    here.saw(passed(made_check()))
    assert (await here.ask(path)).text != before
