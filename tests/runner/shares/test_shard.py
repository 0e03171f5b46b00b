"""Shards: which checks move, when a moved check is left, and what each shard may ask of a target."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from judge.observation import Check
from probes.fields import Rate
from probes.target import Target
from runner.config.plan import Every, Plan, Planned
from runner.config.rates import limits
from runner.config.read import read_plan
from runner.shares.shard import Rolling, Shard, ShardShare, owner
from tests.support.lab import Scripted
from tests.support.observations import NOON, Hands, made_check, made_plan

NAMES = st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=60)
MANY = [f"check-{number}" for number in range(2000)]


def names(plan: Plan) -> list[str]:
    """The checks of a plan."""
    return [planned.check.name for planned in plan.checks]


@given(NAMES, st.integers(1, 40))
def test_each_check_has_one_shard(checks: list[str], of: int) -> None:
    """Every check belongs to exactly one of N shards, whatever other checks there are."""
    assert all(sum(Shard(ordinal, of).holds(name) for ordinal in range(of)) == 1 for name in checks)


@given(NAMES, st.integers(1, 40))
def test_one_more_shard_moves_checks_to_it_alone(checks: list[str], of: int) -> None:
    """Another N moves no check between two shards that are in both."""
    for name in checks:
        before, after = owner(name, of), owner(name, of + 1)
        assert after in (before, of)


@pytest.mark.parametrize("of", [2, 5, 20])
def test_one_more_shard_moves_one_share_of_the_checks(of: int) -> None:
    """From N to N + 1 about 1/(N + 1) of the checks move, and each shard has about 1/N."""
    moved = sum(owner(name, of) != owner(name, of + 1) for name in MANY)
    assert moved == pytest.approx(len(MANY) / (of + 1), rel=0.2)
    sizes = [sum(owner(name, of) == ordinal for name in MANY) for ordinal in range(of)]
    assert min(sizes) > 0.7 * len(MANY) / of
    assert max(sizes) < 1.3 * len(MANY) / of


def test_a_check_keeps_its_shard_for_ever() -> None:
    """Runners of all versions agree on who has a check: these are promises."""
    assert [owner(name, 5) for name in ("api", "database", "cache", "plan-a-trip", "été")] == [4, 2, 3, 3, 4]
    assert [owner(name, 3) for name in ("api", "database", "cache", "plan-a-trip")] == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("text", "pod", "shard"),
    [
        ("2/5", "", Shard(2, 5)),
        ("0/1", "", Shard(0, 1)),
        ("auto/5", "outrider-3", Shard(3, 5)),
        ("auto/5", "outrider-eu-12", Shard(12, 5)),
    ],
)
def test_a_shard_is_written_as_a_number_or_read_from_the_pod(text: str, pod: str, shard: Shard) -> None:
    """`auto` takes the ordinal at the end of POD_NAME, or of the host's name."""
    assert Shard.parse(text, {"POD_NAME": pod}, lambda: "host") == shard
    assert Shard.parse(text, {}, lambda: pod) == shard


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5/5", "5/5: shards count from 0, so the last of 5 is 4/5"),
        ("2", "'2' is no shard; write its number, counted from 0, and how many there are, such as 2/5 or auto/5"),
        ("2/0", "2/0: there can be 1 to 256 shards"),
        ("-1/5", "'-1/5' is no shard; write its number, counted from 0, and how many there are, such as 2/5 or auto/5"),
        ("٣/5", "'٣/5' is no shard; write its number, counted from 0, and how many there are, such as 2/5 or auto/5"),
        (
            "auto/5",
            "auto/5: 'laptop' doesn't end in an ordinal, such as outrider-2; run in a StatefulSet, and set POD_NAME to the pod's name",
        ),
    ],
)
def test_a_wrong_shard_says_what_to_write(text: str, message: str) -> None:
    """Each message says what is wrong, and what to write."""
    with pytest.raises(ValueError, match=r".") as refused:
        Shard.parse(text, {}, lambda: "laptop")
    assert str(refused.value) == message


# While a new N is rolled out


def begun(ordinal: int, of: int, folder: Path | None, now: float) -> Rolling:
    """A runner that starts with this shard."""
    return Rolling.begun(Shard(ordinal, of), folder, now)


def test_a_moved_check_is_left_one_interval_later(tmp_path: Path) -> None:
    """A runner that restarts with another N goes on with what it had for one interval of each check, and joins what is new at once."""
    plan = made_plan(*(made_check(name, interval=interval) for name in MANY[:200] for interval in (30.0,)))
    begun(1, 6, tmp_path, NOON)
    rolling = begun(1, 5, tmp_path, NOON + 100)
    before, after = names(Shard(1, 6).share_of(plan)), names(Shard(1, 5).share_of(plan))
    assert set(before) < set(after)  # fewer shards: each has more
    grown = begun(1, 7, tmp_path, NOON + 1000)
    assert names(rolling.share_of(plan, NOON + 100)) == after
    left = set(after) - set(names(Shard(1, 7).share_of(plan)))
    assert left
    assert left <= set(names(grown.share_of(plan, NOON + 1029.9)))
    assert names(grown.share_of(plan, NOON + 1030)) == names(Shard(1, 7).share_of(plan))


@given(st.integers(1, 8), st.integers(1, 8), st.data())
def test_no_check_is_without_a_runner_while_n_is_rolled_out(before: int, after: int, data: st.DataObject) -> None:
    """Pods restart one by one, the highest first, and those beyond the new N are removed last: each check has a runner at every step."""
    plan = made_plan(*(made_check(name, interval=30.0) for name in MANY[:60]))
    pause = data.draw(st.floats(0.0, 60.0))
    runners = {ordinal: Rolling(Shard(ordinal, before), NOON) for ordinal in range(before)}
    runners |= {ordinal: Rolling(Shard(ordinal, after), NOON) for ordinal in range(before, after)}
    now = NOON + 1000
    for ordinal in sorted(range(before), reverse=True):
        runners[ordinal] = Rolling(Shard(ordinal, after), now, before=Shard(ordinal, before))
        for moment in (now, now + pause):
            covered = {name for one in runners.values() for name in names(one.share_of(plan, moment))}
            assert len(covered) == 60
        now += pause


def test_a_shard_beyond_n_keeps_what_it_had_until_it_is_removed(tmp_path: Path) -> None:
    """Its checks belong to others, who may not have restarted yet. It says so; without a memory it runs nothing."""
    plan, clock = made_plan(*map(made_check, MANY[:60])), Hands()
    begun(5, 6, tmp_path, NOON)
    share = ShardShare(begun(5, 5, tmp_path, NOON + 10), clock, CollectorRegistry())
    clock.now += 86400
    assert names(share.of(plan)) == names(Shard(5, 6).share_of(plan))
    (text,) = share.warnings()
    assert text == "Shard 5 is not one of 5, which count from 0. It goes on with the checks that it had as 5/6, until it is removed."
    fresh = ShardShare(begun(7, 5, tmp_path, NOON), clock, CollectorRegistry())
    assert names(fresh.of(plan)) == []
    assert fresh.warnings() == ("Shard 7 is not one of 5, which count from 0. It runs no check.",)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"of": "x", "since": 1, "before": null}', '{"of": 5, "since": null, "before": 0}', "\x00"]
)
def test_a_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    """The file is read again and again by later versions: what it can't say is not known, and the runner starts."""
    (tmp_path / "shard-1.json").write_text(text)
    assert begun(1, 5, tmp_path, NOON) == Rolling(Shard(1, 5), NOON)
    assert begun(1, 5, tmp_path, NOON + 9) == Rolling(Shard(1, 5), NOON)  # it has been written again


def test_a_folder_that_cannot_be_used_stops_no_shard(tmp_path: Path) -> None:
    """Without a memory the shard has its own checks alone."""
    (tmp_path / "file").write_text("")
    for folder in (None, tmp_path / "file", tmp_path / "file" / "below"):
        assert begun(1, 5, folder, NOON) == Rolling(Shard(1, 5), NOON)


async def test_the_share_changes_when_a_check_is_left(tmp_path: Path) -> None:
    """The runner is told at that moment, and its series say the ordinal, N, since when, and how many checks of how many it runs."""
    loop, registry, told = asyncio.get_running_loop(), CollectorRegistry(), []

    class Loops:
        def time(self) -> float:
            return loop.time()

        monotonic = time

    plan = made_plan(*(made_check(name, interval=0.1) for name in MANY[:100]))
    await asyncio.to_thread(begun, 0, 2, tmp_path, loop.time() - 10)
    share = ShardShare(await asyncio.to_thread(begun, 0, 3, tmp_path, loop.time()), Loops(), registry)
    first = names(share.of(plan))

    async def changed() -> None:
        told.append(names(share.of(plan)))

    await share.follow(changed, logging.getLogger("test").log)
    mine = names(Shard(0, 3).share_of(plan))
    assert set(mine) < set(first)
    assert told[-1] == mine
    values = {name: registry.get_sample_value(name) for name in ("outrider_shard_ordinal", "outrider_shards", "outrider_checks_held")}
    assert values == {"outrider_shard_ordinal": 0, "outrider_shards": 3, "outrider_checks_held": len(mine)}
    assert registry.get_sample_value("outrider_checks_planned") == 100
    assert registry.get_sample_value("outrider_shard_since_timestamp_seconds") == pytest.approx(loop.time(), abs=30)


# Limits


def asking(checks: Mapping[str, tuple[float, int]], limit: str) -> Plan:
    """A plan of checks with an interval and a number of requests each, of one target."""
    target = Target(name="api", url="http://127.0.0.1:1", limit=Rate.parse(limit))
    planned = []
    for name, (interval, asks) in checks.items():
        probe = Scripted(urls=(("GET", target.url),) * asks)
        planned.append(Planned(Check(name, "scripted", 1, interval=interval), probe, Every(interval), 1.0, name, target=target))
    return Plan("service", "", "here", tuple(planned), {"api": target})


SCHEDULES = st.dictionaries(st.text(min_size=1, max_size=8), st.tuples(st.floats(0.5, 7200.0), st.integers(0, 4)), min_size=1, max_size=25)


@given(SCHEDULES, st.integers(1, 12), st.integers(0, 5000))
def test_the_shares_of_a_limit_never_exceed_it(checks: dict[str, tuple[float, int]], of: int, limit: int) -> None:
    """All shards together ask no more than the limit; and where all checks fit into it, those of each shard fit into its share."""
    whole = asking(checks, f"{limit}/1h")
    shares = [Shard(ordinal, of).share_of(whole) for ordinal in range(of)]
    amounts = [share.targets["api"].limit.amount for share in shares if share.targets["api"].limit]
    assert len(amounts) == of
    assert sum(amounts) <= limit
    assert all(amount == int(amount) for amount in amounts)
    assert any(demand.over for demand in limits(whole)) or not any(demand.over for share in shares for demand in limits(share))
    assert all(planned.target == share.targets["api"] for share in shares for planned in share.checks)


def test_a_target_that_only_redirects_reach_is_divided_evenly() -> None:
    """No check asks it, so each of N shards may ask for a part of N."""
    unused = Target(name="other", url="http://127.0.0.1:2", limit=Rate.parse("10/1h"))
    plan = replace(asking({"a": (30.0, 1)}, "9/1h"), unused_targets={"other": unused})
    assert [share.unused_targets["other"].limit for share in (Shard(0, 3).share_of(plan),)] == [Rate(3.0, 3600.0)]


def test_a_check_with_an_address_of_its_own_has_its_part(tmp_path: Path) -> None:
    """It names no target, and asks one all the same: the limit counts its requests, so its shard may make them."""
    file = tmp_path / "checks.yaml"
    file.write_text(
        "version: 1\ntargets:\n  api: {url: 'http://127.0.0.1:1', limit: 240/1h}\nchecks:\n"
        "  a: {kind: http, target: api, interval: 30s}\n  b: {kind: http, url: 'http://127.0.0.1:1/b', interval: 30s}\n"
    )
    plan = read_plan(file, environ={})
    of = next(of for of in range(2, 50) if owner("a", of) != owner("b", of))
    shares = [Shard(ordinal, of).share_of(plan) for ordinal in range(of)]
    assert [share.targets["api"].limit for share in shares if share.checks] == [Rate(120.0, 3600.0)] * 2
