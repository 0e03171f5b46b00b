"""From checks.yaml to the order of one load run: everything resolved, everything allowed, or Unusable."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

from judge.observation import beside
from loadtests.capacity import SearchStopped
from loadtests.order import Order
from loadtests.outlook import Quota, seconds_to_decide, spends
from loadtests.result import Spend
from loadtests.shapes import peak, stages
from loadtests.tasks import asks_of, login_of, names_of_slos
from probes.target import Rule, Target, plain_path
from probes.text import exact
from runner.config.errors import PlanError
from runner.config.mixes import scripts_of, slo_orders, tasks_of
from runner.config.plan import Plan, Scenario
from runner.config.purpose import Purpose
from runner.config.read import read_plan
from runner.load.connection import tls_of
from runner.usage import unusable

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")
_TASK = 30.0  # seconds that a task of loadtests/ may take
_LEAVING = 10.0  # and then the steps that are `always`, with some to spare
_READY, _READY_ELSEWHERE = 20.0, 300.0  # seconds for workers to come: of this machine, of others, which may have an image to fetch
_MOST_CLOSED = 10_000  # requests of a closed loop where something has a limit, so that they can be counted beforehand


@dataclass(frozen=True, slots=True)
class LoadOptions:
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


@dataclass(frozen=True, slots=True)
class LoadRun:
    """A load that may be sent: the plan that it is read from, its target and its order."""

    plan: Plan
    target: Target
    order: Order

    def at_rate(self, rate: float) -> Order:
        """The same order at a constant rate (arrivals a second), long enough to be decided, with what it spends then.

        Raises SearchStopped where that is longer than the ceiling allows.
        """
        order = replace(self.order, shape="constant", stages=stages("constant", rate, self.order.duration))
        seconds = seconds_to_decide(order, names_of_slos(order))
        if seconds > self.plan.load.duration:
            ceiling = f"the ceiling of {exact(self.plan.load.duration)} (load: ceiling:)"
            raise SearchStopped(f"at {rate:.5g}/s a run must last {exact(seconds)} to be decided, which is above {ceiling}")
        order = replace(order, duration=seconds, stages=stages("constant", rate, seconds))
        return replace(order, spends=_spends(self.plan, self.target, order))


def prepare(config: Path, options: LoadOptions, *, annotate: bool = False) -> LoadRun:
    """Reads the file and resolves the run. Raises Unusable where it isn't allowed, before anything is sent.

    With `annotate` the plan has the values of the grafana section.
    """
    try:
        plan = read_plan(config, environ=os.environ, purpose=Purpose.LOAD, annotate=annotate, scenario=options.scenario)
    except PlanError as error:
        unusable(str(error))
    scenario = plan.load.scenarios.get(options.scenario)
    if scenario is None:
        wrong = f"{config.name} has no scenario {options.scenario}" if options.scenario else "Name a scenario: outrider load SCENARIO"
        unusable(f"{wrong} (there are {', '.join(plan.load.scenarios) or 'none'})")
    if not scenario.target:
        off = "; ".join(_switched_off(plan, name) for name, switch in plan.load.switches.items() if switch.written)
        several = f"{', '.join(plan.load.loadable)} all set load: true; choose one with target: in the scenario"
        unusable(f"This load is not allowed: {several if plan.load.loadable else off or 'no target sets load: true'}. Nothing was sent.")
    target = plan.targets[scenario.target]
    if not target.load:
        unusable(f"This load is not allowed: {_switched_off(plan, target.name)}. Nothing was sent.")
    order = _order(plan, scenario, target, options)
    rate = peak(order.stages) if order.stages else 0.0
    if rate > plan.load.rate:
        unusable(f"{rate:g}/s is above the ceiling of {plan.load.rate:g}/s (load: ceiling:); nothing was sent")
    if order.duration > plan.load.duration:
        unusable(f"{order.duration:g}s is above the ceiling of {plan.load.duration:g}s (load: ceiling:); nothing was sent")
    for name, method, path in asks_of(order.tasks):
        if refusal := target.refusal(method, target.url.rstrip("/") + path):
            unusable(f"scenario {order.scenario}, {name}: {refusal}; nothing was sent")
    return LoadRun(plan, target, order)


def _switched_off(plan: Plan, name: str) -> str:
    """`target api has load: false (checks.yaml:52), from ${LOADABLE}; set LOADABLE=true`."""
    switch = plan.load.switches[name]
    file = beside(plan.path.name if plan.path else "", switch.file)
    if not switch.written:
        return f"target {name} does not set load: true ({file}:{switch.line})"
    if variable := _VARIABLE.search(switch.written):
        return f"target {name} has load: false ({file}:{switch.line}), from ${{{variable[1]}}}; set {variable[1]}=true"
    return f"target {name} has load: false ({file}:{switch.line}); write load: true there"


def _order(plan: Plan, scenario: Scenario, target: Target, options: LoadOptions) -> Order:
    scripts = scripts_of(plan.checks, target)
    headers = {name: value.get_secret_value() for name, value in target.headers.items()}
    try:
        tasks, login = tasks_of(scenario.mix, scripts, target, date.today())  # noqa: DTZ011 - a table is booked for a local day
    except ValueError as error:
        unusable(f"scenario {scenario.name}: {error}; nothing was sent")
    mixed = {name: script for name, (_, script) in scripts.items() if name in tasks}
    closed = options.arrivals == "closed"
    limited = bool(target.limit or plan.load.costs)
    try:
        shaped = () if closed else stages(options.shape, options.rate, options.duration)
    except ValueError as error:
        unusable(f"outrider load: --shape {options.shape}: {error}")
    host, port = _bind(options)
    order = Order(
        scenario=scenario.name,
        mix=dict(scenario.mix),
        count=scenario.count,
        slos=slo_orders(scenario.slos),
        target=target,
        tasks=tasks,
        login=login_of(tasks, login, headers),
        timeout=_TASK,
        tls=tls_of(mixed or {name: script for name, (_, script) in scripts.items()}, scenario.name),
        stages=shaped,
        shape=options.shape,
        arrivals=options.arrivals,
        users=options.users,
        most_requests=(options.requests or (_MOST_CLOSED if limited else 0)) if closed else 0,
        pause=options.pause,
        duration=options.duration,
        warm_up=options.warm_up,
        cool_down=options.cool_down,
        drain=max((_TASK, *(task.timeout for task in tasks.values()))) + _LEAVING,
        ready=_READY_ELSEWHERE if options.expect_workers else _READY,
        most_rate=plan.load.rate,
        seed=options.seed,
        workers=options.workers,
        expect_workers=options.expect_workers,
        bind=host,
        port=port,
        abort_on_breach=options.abort_on_breach,
        config=beside(plan.path.name, scenario.file) if plan.path else "",
        line=scenario.line,
        version=options.version,
        secrets=tuple(sorted(plan.secrets)),
    )
    return replace(order, spends=_spends(plan, target, order))


def _bind(options: LoadOptions) -> tuple[str, int]:
    """Where workers of other machines come to; loopback and any free port for those of this one."""
    if not options.expect_workers:
        return "127.0.0.1", 0
    host, _, port = options.bind.rpartition(":")
    if not host or not port.isdecimal():
        unusable("outrider load: --bind is an address and a port, such as 0.0.0.0:5557")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _spends(plan: Plan, target: Target, order: Order) -> tuple[Spend, ...]:
    """What the run takes at most of the target's limit, and of what its requests cost others."""
    quotas = []
    if limit := target.limit:
        quotas.append(Quota(f"target {target.name}", target.name, limit.amount, limit.window))
    for cost in plan.load.costs:
        whose = f"target {cost.target}, by {cost.rule}" if cost.target else str(cost.rule)
        quotas.append(Quota(whose, cost.quota, cost.most, cost.window, partial(_counts, cost.rule, target.url.rstrip("/"))))
    return tuple(spends(order, quotas))


def _counts(rule: Rule, base: str, method: str, path: str) -> bool:
    return rule.matches(method, plain_path(base + path))
