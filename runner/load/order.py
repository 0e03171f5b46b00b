"""From checks.yaml to the order of one load run: everything resolved, everything allowed, or a message and exit 2."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr

from loadtests import order as orders
from loadtests.order import JourneyOrder, Order
from loadtests.outlook import Purse, spends
from loadtests.result import Spend
from loadtests.shapes import peak, stages
from loadtests.tasks import Playable, asks_of, playable, unfillable
from probes.target import Rule, Target, plain_path
from runner.config.document import read as read_yaml
from runner.config.errors import PlanError
from runner.config.nodes import Keys
from runner.config.plan import Plan, Scenario
from runner.config.read import load
from runner.load.connection import judge_ways, tls_of
from runner.usage import unusable

_TASK = 30.0  # seconds that a task of loadtests/ may take
_LEAVING = 10.0  # and then the steps that are `always`, with some to spare
_READY, _READY_ELSEWHERE = 20.0, 300.0  # seconds for workers to come: of this machine, of others, which may have an image to fetch
_CLOSED = 10_000  # requests of a closed loop that may not send any number


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for: arrivals a second, seconds, and how they come."""

    scenario: str
    rate: float
    duration: float
    shape: str
    arrivals: str
    warm_up: float
    cool_down: float
    users: int
    requests: int
    pause: float
    workers: int
    expect_workers: int
    bind: str
    seed: int
    abort_on_breach: bool
    version: str  # of Outrider, for the sender


def read(config: Path, wish: Wish) -> tuple[Plan, Target, Order]:
    """The plan, the target and the order. Ends the command with exit 2 where the run may not be, before a packet is sent."""
    plan, scenario, target = _chosen(config, wish.scenario)
    if not target.load:
        place = f"{config.name}:{_line_of_load(config, target.name)}"
        unusable(f"This load is not allowed: target {target.name} does not set load: true ({place}). Nothing was sent.")
    order = _order(plan, scenario, target, wish)
    _judge_ceiling(plan, order)
    _judge_rules(target, order)
    return plan, target, order


def at_rate(plan: Plan, target: Target, order: Order, rate: float) -> Order:
    """The same order at a constant rate of so many a second, with what it spends then."""
    made = replace(order, shape="constant", stages=stages("constant", rate, order.duration))
    return replace(made, spends=_spends(plan, target, made))


def _chosen(config: Path, name: str) -> tuple[Plan, Scenario, Target]:

    try:
        names = _names(config)
        sketch = load(config, environ=os.environ, probing=False, serving=False, marking=False)
        scenario = sketch.load.scenarios.get(name)
        if scenario is None:
            unusable(f"{config.name} has no scenario {name} (there are {', '.join(sketch.load.scenarios) or 'none'})")
        target = scenario.target or _only_loadable(config, names["targets"])
        plan = load(config, environ=os.environ, checks=names["journeys"], serving=False, marking=False, loading=target)
    except PlanError as error:
        unusable(str(error))
    return plan, plan.load.scenarios[name], plan.targets[target]


def _line_of_load(config: Path, target: str) -> int:
    """The line of a target's `load:` in the file, or of its name where it has none."""
    targets = read_yaml(config).get("targets")
    entry = targets.entries[target] if isinstance(targets, Keys) else None
    if entry is None:
        raise AssertionError  # the plan has this target from there
    own = entry.node.entries.get("load") if isinstance(entry.node, Keys) else None
    return (own or entry).at.line


def _names(config: Path) -> Mapping[str, tuple[str, ...]]:
    """The names of the file's targets and of its journeys, whose values the order needs."""
    root = read_yaml(config)
    targets, checks = root.get("targets"), root.get("checks")
    journeys = [
        name
        for name, entry in (checks.entries.items() if isinstance(checks, Keys) else ())
        if isinstance(entry.node, Keys) and getattr(entry.node.get("kind"), "text", "") == "journey"
    ]
    return {"targets": tuple(targets.entries) if isinstance(targets, Keys) else (), "journeys": tuple(journeys)}


def _only_loadable(config: Path, names: tuple[str, ...]) -> str:
    """The one target that says load: true; a target whose values aren't set here can't be meant."""
    found = []
    for name in names:
        try:
            plan = load(config, environ=os.environ, probing=False, serving=False, marking=False, loading=name)
        except PlanError:
            continue
        if plan.targets[name].load:
            found.append(name)
    if len(found) != 1:
        several = f"{', '.join(found)} all set load: true; choose one with target: in the scenario"
        unusable(f"This load is not allowed: {several if found else 'no target sets load: true'}. Nothing was sent.")
    return found[0]


def _order(plan: Plan, scenario: Scenario, target: Target, wish: Wish) -> Order:

    journeys = {p.check.name: p for p in plan.checks if p.target is not None and p.target.name == target.name}
    mixed = {name: planned for name, planned in journeys.items() if name in scenario.mix}
    written = {name: _journey(planned.probe, planned.timeout) for name, planned in journeys.items()}
    judge_ways(mixed.values())
    closed = wish.arrivals == "closed"
    try:
        shaped = () if closed else stages(wish.shape, wish.rate, wish.duration)
    except ValueError as error:
        unusable(f"outrider load: {error}")
    host, port = _bind(wish)
    made = orders.Order(
        scenario=scenario.name,
        mix=dict(scenario.mix),
        count=scenario.count,
        slos=tuple(orders.SloOrder(s.name, float(s.objective), s.threshold, s.measure) for s in scenario.slos),
        target={
            "name": target.name,
            "url": target.url,
            "allow": [str(rule) for rule in target.allow],
            "deny": [str(rule) for rule in target.deny],
            **({"revision": _plain(target.revision.model_dump(by_alias=True, exclude_unset=True))} if target.revision else {}),
        },
        target_headers={name: value.get_secret_value() for name, value in target.headers.items()},
        tls=tls_of((mixed or journeys).values(), scenario.name),
        allow_addresses=target.allow_addresses,
        journeys={name: written[name] for name in mixed},
        timeout=_TASK,
        login=_login(journeys.values()),
        stages=shaped,
        shape=wish.shape,
        arrivals=wish.arrivals,
        users=wish.users,
        most_requests=_most_requests(plan, target, wish) if closed else 0,
        pause=wish.pause,
        duration=wish.duration,
        warm_up=wish.warm_up,
        cool_down=wish.cool_down,
        drain=max((_TASK, *(planned.timeout for planned in mixed.values()))) + _LEAVING,
        ready=_READY_ELSEWHERE if wish.expect_workers else _READY,
        most_rate=plan.load.rate,
        seed=wish.seed,
        workers=wish.workers,
        expect_workers=wish.expect_workers,
        bind=host,
        port=port,
        abort_on_breach=wish.abort_on_breach,
        config=plan.path.name if plan.path else "",
        line=scenario.line,
        version=wish.version,
    )
    return replace(made, spends=_spends(plan, target, made))


def _most_requests(plan: Plan, target: Target, wish: Wish) -> int:
    """Of a closed loop, which sends as much as it can: a number where something has a limit, so that it can be paid beforehand."""
    return wish.requests or (_CLOSED if target.limit or plan.load.costs else 0)


def _bind(wish: Wish) -> tuple[str, int]:
    """Where workers of other machines come to; loopback and any free port for those of this one."""
    if not wish.expect_workers:
        return "127.0.0.1", 0
    host, _, port = wish.bind.rpartition(":")
    if not host or not port.isdecimal():
        unusable("outrider load: --bind is an address and a port, such as 0.0.0.0:5557")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _tasks(order: Order) -> Mapping[str, Playable]:
    """What the mix plays. Ends the command with exit 2 where that can't be."""
    try:
        return playable(order, date.today())  # noqa: DTZ011 - a table is booked for a local day
    except ValueError as error:
        unusable(f"scenario {order.scenario}: {error}; nothing was sent")


def _spends(plan: Plan, target: Target, order: Order) -> tuple[Spend, ...]:
    """What the run takes at most of the target's limit, and of what its requests cost others."""
    tasks = _tasks(order)
    return tuple(spends(order, tasks, tuple(_purses(plan, target))))


def _purses(plan: Plan, target: Target) -> Iterator[Purse]:

    if limit := target.limit:
        yield Purse(f"target {target.name}", target.name, limit.amount, limit.window)
    for cost in plan.load.costs:
        whose = f"target {cost.target}, by {cost.rule}" if cost.target else str(cost.rule)
        yield Purse(whose, cost.purse, cost.most, cost.window, partial(_matches, cost.rule, target.url.rstrip("/")))


def _matches(rule: Rule, base: str, method: str, path: str) -> bool:

    return rule.matches(method, plain_path(base + path))


def _journey(probe: Any, timeout: float) -> JourneyOrder:

    headers = {name: value.get_secret_value() for name, value in probe.headers.items()}
    return JourneyOrder(tuple(as_written(step) for step in probe.steps), headers, timeout)


def _login(journeys: Any) -> dict[str, Any] | None:
    """The first step of these journeys that logs in: users who return log in as the probe's user does."""
    steps = (step for planned in journeys for step in planned.probe.steps)
    return next((as_written(step) for step in steps if step.logs_in), None)


def as_written(step: Any) -> dict[str, Any]:
    """A step as checks.yaml would have it, its secrets filled in: what another process validates again."""
    return cast("dict[str, Any]", _plain(step.model_dump(by_alias=True, exclude_unset=True)))


def _plain(value: Any, key: str = "") -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {str(k): _plain(v, str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if key == "within" and isinstance(value, float):
        return f"{value:.6f}s"
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _judge_ceiling(plan: Plan, order: Order) -> None:

    rate = peak(order.stages) if order.stages else 0.0
    if rate > plan.load.rate:
        unusable(f"{rate:g}/s is above the ceiling of {plan.load.rate:g}/s (load: ceiling:); nothing was sent")
    if order.duration > plan.load.duration:
        unusable(f"{order.duration:g}s is above the ceiling of {plan.load.duration:g}s (load: ceiling:); nothing was sent")


def _judge_rules(target: Target, order: Order) -> None:
    """Every request of the mix against the target's own rules."""
    tasks = _tasks(order)
    if said := unfillable(order, tasks):
        unusable(f"scenario {order.scenario}: {said}; nothing was sent")
    for name, method, path in asks_of(tasks):
        if refusal := target.refusal(method, target.url.rstrip("/") + path):
            unusable(f"scenario {order.scenario}, {name}: {refusal}; nothing was sent")
