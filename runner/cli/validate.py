"""`outrider validate`: reads the configuration and says what it will do, without sending any request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probes.text import count, setting
from runner.cli._options import selection_options, shard_option
from runner.config.purpose import Purpose
from runner.usage import unusable

if TYPE_CHECKING:
    from runner.config.plan import Plan, Switch
    from runner.shares.shard import Shard

DAY = 86400.0


@click.command("validate", short_help="Read the configuration and say what it will do.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON: every check with its interval and its alert.")
@click.option("--no-secrets", is_flag=True, help="Read no variable and no secret file; placeholders replace them.")
@click.option("--github", is_flag=True, help="Also print each error as an annotation for GitHub Actions.")
@shard_option
@selection_options
def command(
    config: Path,
    tags: tuple[str, ...],
    checks: tuple[str, ...],
    shard: Shard | None,
    *,
    as_json: bool,
    github: bool,
    no_secrets: bool,
) -> None:
    """Read the configuration and say what it will do: exit 0, or 2 with every problem and its line and column.

    With --json the problems are JSON too, on standard output: errors, each with path, line, column, key, message and hint.
    """
    import json
    import os

    from runner.config.errors import PlanError
    from runner.config.read import read_plan
    from runner.reports import path_below
    from runner.reports.github import WORKSPACE, annotation

    purpose = Purpose.DRY_RUN if no_secrets else Purpose.CHECKS
    try:
        plan = read_plan(config, environ=os.environ, purpose=purpose, tags=tags, checks=checks)
    except PlanError as error:
        found = [{"path": problem.at.named(str(config)), **problem.for_programs()} for problem in error.problems]
        if as_json:
            click.echo(json.dumps({"file": str(config), "errors": found}, indent=2))
        for problem in error.problems if github else ():
            file = path_below(os.environ.get(WORKSPACE) or ".", problem.at.named(str(config)))
            click.echo(annotation("error", file, problem.at.line or 1, "checks.yaml", problem.words(), column=problem.at.column))
        unusable(str(error))
    lines = [json.dumps(_summary_json(plan, shard), indent=2)] if as_json else summary(plan, shard)
    for line in lines:
        click.echo(line)


def summary(plan: Plan, shard: Shard | None = None) -> list[str]:
    """What the plan will do, one fact a line; with a shard, what that one will do."""
    from runner.config.rates import limits
    from runner.render.rehearsal import rehearsal

    plan, parts = _share(plan, shard)
    intervals = sorted({planned.check.interval for planned in plan.checks})
    spread = f", every {' to '.join(dict.fromkeys((setting(intervals[0]), setting(intervals[-1]))))}" if intervals else ""
    file = f"{plan.path}: " if plan.path else ""
    runs = f"{file}{count(len(plan.checks), 'check')}, {count(len(_slos(plan)), 'SLO')}{spread}: {_runs(plan):,.0f} runs a day"
    off = [f"off (enabled: false): {', '.join(plan.off)}"] if plan.off else []
    scripts = [(planned.check.name, script) for planned in plan.checks if (script := planned.probe.script())]
    guessed = [
        f"{name}: step {step.name} looks like a login, so that after a refused one none is tried for a while; "
        "write login: true, or login: false if it is none"
        for name, script in scripts
        for step in script.steps
        if step.login is None and step.looks_like_login
    ]
    rates = [
        f"over its limit: {load.target} gets {load.asks:,.0f} requests in {setting(load.window)} and allows {load.limit:,.0f}; {load.hint}"
        if load.over
        else f"{load.target} gets {load.asks:,.0f} of {load.limit:,.0f} allowed requests in {setting(load.window)}"
        for load in limits(plan)
    ]
    unloaded: dict[str, list[str]] = {}  # by target, the scenarios that may not be run as things are
    for scenario in plan.load.scenarios.values():
        named = [scenario.target] if scenario.target else [name for name, switch in plan.load.switches.items() if switch.written]
        for name in named if len(named) == 1 else ():
            if name in plan.targets and not plan.targets[name].load:
                unloaded.setdefault(name, []).append(scenario.name)
    # Which alert a failure raises, by the alerting rules.
    says = {"page": "raises an alert of severity critical", "ticket": "raises an alert of severity warning", "none": "raises no alert"}
    by_alert = {alert: [one.check.name for one in plan.checks if one.check.alert == alert] for alert in says}
    return [
        *parts,
        runs,
        *off,
        *[f"{', '.join(names)}: a failure {says[alert]}" for alert, names in by_alert.items() if names],
        *rehearsal(plan),
        *rates,
        *_coordination(plan),
        *guessed,
        *_shared_references(plan),
        *[
            f"outrider load {', '.join(names)}: not allowed now, since target {name} has load: false ({_line(plan.load.switches[name])})"
            for name, names in unloaded.items()
        ],
    ]


def _line(switch: Switch) -> str:
    """`line 14`, or `checks.d/targets.yaml:14` where it stands in an included file."""
    return f"{switch.file}:{switch.line}" if switch.file else f"line {switch.line}"


def _coordination(plan: Plan) -> list[str]:
    """What follows if several runners share the checks by leases."""
    from runner.shares.leases import Rules

    if (found := plan.coordinate) is None:
        return []
    within = setting(Rules(found.slots, found.lasts, found.most).takeover)
    return [
        f"coordinate: leases of {setting(found.lasts)} on {found.slots} slots: others take a dead runner's checks over within {within}",
        f"coordinate: one runner takes {found.most:,} checks at most; all runners together keep each limit and budget",
    ]


def _share(plan: Plan, shard: Shard | None) -> tuple[Plan, list[str]]:
    """The share of a shard, and how it was made."""
    if shard is None:
        return plan, []
    mine = shard.share_of(plan)
    lines = [f"shard {shard}: {len(mine.checks):,} of {count(len(plan.checks), 'check')}"]
    for name, target in mine.targets.items():
        if (whole := plan.targets[name].limit) and target.limit:
            part = f"{target.limit.amount:,.0f} of {whole.amount:,.0f} requests in {setting(whole.window)}"
            lines.append(f"limit of {name}: {part}, shared by what the checks of each shard ask, and rounded down")
    return mine, lines


def _summary_json(plan: Plan, shard: Shard | None) -> dict[str, Any]:
    """The same for programs: durations in seconds, and numbers without units."""
    from dataclasses import asdict

    from runner.config.rates import limits

    of_all = len(plan.checks)
    plan, _ = _share(plan, shard)
    checks = [planned.check for planned in plan.checks]
    part = {"shard": {"ordinal": shard.ordinal, "shards": shard.of, "checks": len(checks), "of_checks": of_all}} if shard else {}
    return part | {
        "checks": [
            {
                "check": one.name,
                "kind": one.kind,
                "line": one.line,
                "file": one.file or None,
                "interval": one.interval,
                "target": one.target,
                "tags": list(one.tags),
                "slos": [slo.name for slo in one.slos],
                "alert": one.alert,
            }
            for one in checks
        ],
        "off": list(plan.off),
        "slos": _slos(plan),
        "runs_a_day": round(_runs(plan)),
        "limits": [asdict(load) | {"over": load.over} for load in limits(plan)],
    }


def _slos(plan: Plan) -> list[str]:
    """The SLOs that a check counts for, or that a load is held against."""
    of_loads = (slo for scenario in plan.load.scenarios.values() for slo in scenario.slos)
    return list(dict.fromkeys(slo.name for slo in (*plan.slos, *of_loads)))


def _runs(plan: Plan) -> float:
    """Scheduled runs in a day."""
    return sum(DAY / planned.check.interval for planned in plan.checks if planned.check.interval)


def _shared_references(plan: Plan) -> list[str]:
    """References that are asked as targets too: an outage of theirs would count as the runner's own network."""
    from urllib.parse import urlsplit

    from probes.target import origin

    names = {origin(target.url)[1:]: f"target {target.name}" for target in plan.targets.values()}
    for planned in plan.checks:
        if endpoint := planned.probe.endpoint():
            names.setdefault((endpoint.host, endpoint.port), f"check {planned.check.name}")
    return [
        f"references: {urlsplit(url).netloc.rpartition('@')[2]} is the address of {name} too, so that its outage counts as one of the "
        "runner's network; write an address outside your system"
        for url in plan.references
        if (name := names.get(origin(url)[1:]))
    ]
