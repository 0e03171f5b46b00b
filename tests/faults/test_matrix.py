"""Every row of the table against every kind to which it applies: verdict, reason, deadline, nothing left behind, no secret told."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from judge.observation import Observation
from probes.core import Reason, Verdict
from probes.kinds.http import Http
from probes.probe import Probe
from tests.faults.askings import ASKINGS, KINDS, SECRET, Place, asked, kind_of
from tests.faults.rows import CERTIFICATES, ROWS, Case, Row
from tests.support import servers
from tests.support.ca import Authority
from tests.support.engine import Observer
from tests.support.leaks import no_leaks

WITHIN = 0.3  # seconds, for faults that are known by the deadline alone
ENOUGH = 10.0  # seconds, for faults that show at once
PROMPTLY = 1.0  # seconds: far above what a return takes, and enough for a machine that is busy


def test_every_kind_is_asked() -> None:
    """No kind is left out of the suite: each has at least one way of asking, but for one that others report to."""
    asking_nobody = {name for name, kind in KINDS.items() if kind.report_token is not Probe.report_token}
    assert asking_nobody == {"heartbeat"}
    assert {kind_of(asking) for asking in ASKINGS} == set(KINDS) - asking_nobody


@pytest.mark.parametrize("fault", ROWS)
def test_every_row_is_complete(fault: str) -> None:
    """Each way of asking meets a row, or the row says why it can't; never both."""
    row = ROWS[fault]
    met = {asking for case in row.cases for asking in case.askings}
    assert met | set(row.without) == set(ASKINGS)
    assert not met & set(row.without)


async def _observe(runs: Observer, asking: str, place: Place, within: float) -> Observation:
    return await runs.observe(asked(asking, place), kind=kind_of(asking), within=within)


def fault_of(row: Row, case: Case, asking: str, seen: Observation) -> str:
    """What is wrong with an observation; empty where nothing is."""
    if not case.reasons:
        return "" if seen.verdict is Verdict.PASS else f"{asking}: {seen.verdict}, {seen.reason}: {seen.message}"
    if seen.verdict is not Verdict.FAIL or seen.reason not in case.reasons or not seen.message:
        return f"{asking}: {seen.verdict}, {seen.reason}: {seen.message}"
    if row.waits and not WITHIN * 0.9 <= seen.seconds <= WITHIN + PROMPTLY:
        return f"{asking}: told after {seen.seconds:.3f} s"
    return f"{asking}: tells its secret" if SECRET in repr(seen) else ""


@pytest.mark.slow
@pytest.mark.parametrize("fault", ROWS)
async def test_a_fault(fault: str, runs: Observer, authority: Authority) -> None:
    """A fitting verdict for every kind, by the deadline at the latest; no socket and no task is left."""
    row = ROWS[fault]
    within = WITHIN if row.waits else ENOUGH
    async with AsyncExitStack() as stack:
        met = [(case, await stack.enter_async_context(case.make(authority))) for case in row.cases]
        async with no_leaks(serving=[server.port for _, server in met]):
            asks = [(case, server, asking) for case, server in met for asking in case.askings]
            seen = await asyncio.gather(
                *(_observe(runs, asking, place_of(row, case, server, authority), within) for case, server, asking in asks)
            )
        assert not [server for _, server in met if fault in CERTIFICATES and server.asked.is_set()], "something was said to a stranger"
    wrong = [fault_of(row, case, asking, one) for (case, _, asking), one in zip(asks, seen, strict=True)]
    assert not [one for one in wrong if one]
    assert runs.longest < within + max(asked(asking, Place("127.0.0.1", 9)).cleanup_seconds() for _, _, asking in asks) + PROMPTLY
    assert not runs.log


def place_of(row: Row, case: Case, server: servers.Server, authority: Authority) -> Place:
    """Where a case's server is asked."""
    return Place(case.host or server.host, server.port, authority.ca_file if row.tls else None)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [fault for fault in CERTIFICATES if fault != "old protocol"])
async def test_a_wrong_certificate_is_shown(fault: str, runs: Observer, authority: Authority) -> None:
    """Its term and its chain are known all the same, whatever the kind: an alert can say for how long it has been dead."""
    for case in ROWS[fault].cases:
        async with case.make(authority) as server:
            for asking in case.askings:
                seen = await _observe(runs, asking, place_of(ROWS[fault], case, server, authority), ENOUGH)
                assert seen.facts["cert_expiry"] > 0, asking
                assert seen.evidence["certificates"], asking
                assert "tls" in seen.phases, asking


@pytest.mark.slow
@pytest.mark.parametrize("fault", [fault for fault, row in ROWS.items() if any("http" in case.askings for case in row.cases)])
async def test_a_plain_request_tells_the_same(fault: str, runs: Observer, authority: Authority) -> None:
    """Sent without a session, each fault has the verdict, the reason and the phases that it has with one."""
    row = ROWS[fault]
    within = WITHIN if row.waits else ENOUGH
    for case in row.cases:
        if "http" not in case.askings or case.reasons & {Reason.REDIRECT, Reason.POLICY}:
            continue  # what follows a redirect is a session's alone
        async with case.make(authority) as server:
            place = place_of(row, case, server, authority)
            settings = {"url": place.url("http", "/"), "bearer": SECRET, **place.tls()}
            plain, session = (Http.model_validate({**settings, "redirects": redirects}) for redirects in (0, 3))
            async with no_leaks(serving=[server.port]):
                ours = await runs.observe(plain, kind="http", within=within)
            theirs = await runs.observe(session, kind="http", within=within)
        assert plain.plain is not None
        assert session.plain is None
        assert _told(ours) == _told(theirs)
        assert not fault_of(row, case, "http", ours)  # its reason; where several fit, the moment decides: a close may come as a reset


def _told(seen: Observation) -> tuple[object, ...]:
    return seen.verdict, seen.halted_in, list(seen.phases), seen.responded, sorted(seen.facts), sorted(seen.evidence)
