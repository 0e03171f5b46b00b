"""What a scenario's users do: the tasks of its mix, and why `outrider load` could not play them. Judged as the file is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date

from judge.observation import Slo
from loadtests.order import Order, SloOrder, UserTask
from loadtests.tasks import NEEDS_LOGIN, TASKS, asks_of, unfillable, user_tasks
from probes.journeys.script import Script
from probes.journeys.steps import Step
from probes.target import Target
from probes.text import unknown
from runner.config.errors import Path
from runner.config.filling import UNFILLED
from runner.config.plan import Planned, Scenario


def scripts_of(checks: Iterable[Planned], target: Target) -> dict[str, tuple[Planned, Script]]:
    """The checks of a target that a load can play, by name."""
    there = (one for one in checks if one.target and one.target.name == target.name)
    return {one.check.name: (one, script) for one in there if (script := one.probe.script())}


def tasks_of(
    mix: Collection[str], scripts: Mapping[str, tuple[Planned, Script]], target: Target, today: date
) -> tuple[dict[str, UserTask], Step | None]:
    """Every task of a mix, and the login that its users need: the first of the target's journeys.

    Raises ValueError for a task that can't be played.
    """
    headers = {name: value.get_secret_value() for name, value in target.headers.items()}
    every_step = (step for _, script in scripts.values() for step in script.steps)
    login = next((step for step in every_step if step.logs_in and step.capture and not step.uses()), None)
    own = {}
    for name, (planned, script) in scripts.items():
        if name in mix:
            more = {key: value.get_secret_value() for key, value in script.headers.items()}
            own[name] = UserTask(name, (script.steps,), {**headers, **more}, planned.timeout, script.route.charset)
    return user_tasks(mix, own, login, headers, today), login


def slo_orders(slos: Iterable[Slo]) -> tuple[SloOrder, ...]:
    """SLOs as an order has them."""
    return tuple(SloOrder(slo.name, float(slo.objective), slo.threshold, slo.measure) for slo in slos)


def unplayable(
    scenario: Scenario, target: Target, checks: Mapping[str, Planned | None], *, sure: Collection[Path]
) -> Iterator[tuple[Path, str]]:
    """What `outrider load` would refuse of a scenario, with its place in it.

    `checks` are all checks of the file that are not off; None for one that is wrong or whose values aren't there. `sure` are the
    checks and targets of the file, by their paths in it, of which nothing depends on a value that isn't there.
    """
    scripts = scripts_of((one for one in checks.values() if one is not None), target)
    playable = [name for name, (_, script) in scripts.items() if script.steps]
    judged = not any(UNFILLED in (slo.measure or "") for slo in scenario.slos)
    for name in scenario.mix:
        why = ""
        if name in scripts:
            script = scripts[name][1]
            judged &= not script.differs
            if ("checks", name) in sure and (differs := script.unlike_a_load()):
                why = f"checks.{name} {' and '.join(differs)}, which a load test doesn't support"
        elif name in TASKS:
            continue
        elif name not in checks:
            why = unknown(name, "task or check of this target", [*TASKS, *playable])
        elif (planned := checks[name]) is None:
            judged = False
        elif type(planned.probe).scripted:
            elsewhere = f"target {planned.target.name}" if planned.target else "an address of its own"
            why = f"checks.{name} asks {elsewhere}, but this load goes to target {target.name}"
        else:
            there = ", ".join([*TASKS, *playable])
            why = f"checks.{name} is of kind {planned.check.kind}, which a load can't play; it can play {there}"
        if why:
            judged = False
            yield ("mix", name), why
    if judged:
        yield from _of_the_whole(scenario, target, scripts, sure)


def _of_the_whole(
    scenario: Scenario, target: Target, scripts: Mapping[str, tuple[Planned, Script]], sure: Collection[Path]
) -> Iterator[tuple[Path, str]]:
    """What is wrong with tasks that can all be played: no login, an SLO that nothing fills, different TLS, what the target refuses."""
    try:
        tasks, _ = tasks_of(scenario.mix, scripts, target, date.min)
    except ValueError as error:
        needing = next((name for name in scenario.mix if name in NEEDS_LOGIN and name not in scripts), "")
        yield ("mix", needing), str(error)
        return
    order = Order(scenario.name, dict(scenario.mix), scenario.count, slo_orders(scenario.slos), target, tasks)
    if why := unfillable(order):
        yield ("slos",), why
    if len({script.route.tls for name, (_, script) in scripts.items() if name in tasks and ("checks", name) in sure}) > 1:
        yield ("mix",), "its checks have different tls: settings, but a load test has one for all"
    for name, method, path in asks_of(tasks) if ("targets", target.name) in sure else ():
        if name not in scripts and (refusal := target.refusal(method, target.url.rstrip("/") + path)):
            yield ("mix", name), f"{refusal}; add it to allow, or leave {name} out"
            return
