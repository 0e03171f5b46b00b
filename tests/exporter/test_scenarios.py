"""The exporter's own scenarios, asked of the installed exporter and of our checks: the same verdicts and values, or the reason why not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from judge.observation import Observation
from probes import Verdict, discover
from runner.config.errors import PlanError
from runner.config.read import read_plan
from tests.exporter.all_scenarios import ASKED, SCENARIOS, WRITTEN
from tests.exporter.scenario import Scenario, filled
from tests.support.ca import Authority
from tests.support.engine import Observer

KINDS = discover()
Values = dict[str, dict[frozenset[tuple[str, str]], float]]  # by name, then by labels

THEIRS_ALONE = {
    "probe_success": "compared as the verdict",
    "probe_duration_seconds": "the runner's own metric of every kind",
    "probe_ip_addr_hash": "a number that stands for an address; ours shows the address in the evidence",
    "probe_http_last_modified_timestamp_seconds": "an expectation of the header says the same",
    "probe_failed_due_to_cel": "conditions over JSON take the place of CEL",
}
TIMES = "seconds"  # of a phase: they are there or not, and never equal
NOTHING = (0.0, -1.0)  # what the exporter exposes where there was nothing to measure; ours exposes nothing


def ours(kind: str, seen: Observation) -> Values:
    """The samples of our run, by the families of its kind."""
    return {
        family.name: {frozenset(zip(family.labels, labels, strict=True)): value for labels, value in family.read(seen.phases, seen.facts)}
        for family in KINDS[kind].families
    }


async def theirs(exporter: str, scenario: Scenario, target: str) -> Values:
    """The samples that the exporter exposes of one probe."""
    async with httpx.AsyncClient(trust_env=False, timeout=15.0) as client:
        page = await client.get(f"{exporter}/probe", params={"module": scenario.name, "target": target})
    values: Values = {}
    for family in text_string_to_metric_families(page.raise_for_status().text):
        for sample in family.samples:
            values.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return values


def differences(kind: str, seen: Observation, other: Values) -> Iterator[tuple[str, str]]:
    """The metrics that the exporter exposes and ours doesn't expose so: name, and what differs."""
    own = ours(kind, seen)
    for name, samples in other.items():
        if name in THEIRS_ALONE:
            continue
        for labels, value in samples.items():
            found = next((value for known, value in own.get(name, {}).items() if labels <= known), None)  # later releases have more labels
            if found is None:
                if name not in own or value not in NOTHING:
                    yield name, f"theirs has {name}{dict(labels)} {value}, ours has {own.get(name)}"
            elif not name.endswith((f"duration_{TIMES}", f"lookup_time_{TIMES}")) and found != value:
                yield name, f"{name}{dict(labels)} is {value} to theirs, and {found} to ours"


@pytest.mark.exporter
@pytest.mark.xdist_group("exporter")
@pytest.mark.parametrize("scenario", WRITTEN, ids=lambda each: each.name)
async def test_a_scenario(
    scenario: Scenario, exporter: str, runs: Observer, places: Mapping[str, str | int], authority: Authority, written: Path
) -> None:
    """Both give the same verdict and the same values; what differs differs as the table says, and for the reason that it gives."""
    assert scenario.serve is not None
    async with scenario.serve(authority) as server:
        here = {**places, "<port>": server.port, "<other>": getattr(server, "other", 0)}
        other = await theirs(exporter, scenario, filled(scenario.target, here)) if scenario in ASKED else {}
        if other:
            assert other["probe_success"] == {frozenset(): float(scenario.passes)}
        keys = {"checks": {"check": filled(scenario.check, here)}} | (
            {"targets": filled(scenario.targets, here)} if scenario.targets else {}
        )
        text = yaml.safe_dump({"version": 1, "defaults": {"interval": "1m", "timeout": scenario.timeout}, **keys}, allow_unicode=True)
        await asyncio.to_thread(written.write_text, text)
        if scenario.refused:
            with pytest.raises(PlanError, match=scenario.refused):
                await asyncio.to_thread(read_plan, written, environ={})
            assert not scenario.passes or scenario.differs
            return
        seen = await runs.first(await asyncio.to_thread(read_plan, written, environ={}))
    assert seen.verdict is not Verdict.UNKNOWN, seen.message
    assert (seen.verdict is Verdict.PASS) == (scenario.passes is not bool(scenario.differs)), seen.message
    found = dict(differences(scenario.check["kind"], seen, other))
    assert {name: found.get(name) for name in found if name not in scenario.metrics} == {}
    if other:
        assert sorted(name for name in scenario.metrics if name not in found) == [], "these don't differ any longer"


def test_the_table() -> None:
    """Each scenario has a name of its own, and a reason where it can't be written, differs or isn't asked."""
    assert [name for name, number in Counter(each.name for each in SCENARIOS).items() if number > 1] == []
    assert [each.name for each in SCENARIOS if bool(each.cannot) == bool(each.check)] == []
    assert len(SCENARIOS) >= 214
    told = Counter("cannot" if each.cannot else "differs" if each.differs or each.metrics else "agrees" for each in SCENARIOS)
    assert told["agrees"] > 150 > told["differs"] + told["cannot"]
