"""`outrider load`: does the system hold its SLOs at this load? Locust sends, in a process of its own."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli._options import config_option, unusable

if TYPE_CHECKING:
    from loadtests.order import Order
    from probes._target import Target
    from runner.cli._load_order import Wish
    from runner.plan.model import Plan

EXIT = {"pass": 0, "fail": 1, "inconclusive": 3}


@click.command("load", short_help="Hold the SLOs against a load.")
@click.argument("scenario")
@click.option("--rate", default="10/s", show_default=True, help="Arrivals, such as 50/s: at the shape's top, spikes aside.")
@click.option("--duration", default="60s", show_default=True, help="How long they come.")
@click.option("--shape", default="constant", show_default=True, help="constant, ramp, steps, spike, soak or breakpoint.")
@click.option(
    "--arrivals", default="poisson", show_default=True, type=click.Choice(["poisson", "even", "closed"]), help="closed: users who wait."
)
@click.option("--users", default=0, help="Of a closed loop: how many.")
@click.option("--warm-up", default=None, metavar="TIME", help="Marked and not judged.  [default: a tenth of the duration]")
@click.option("--workers", default=0, show_default=True, type=click.IntRange(0, 64), help="Processes that send; 0: one alone.")
@click.option("--seed", default=1, show_default=True, help="Of the arrivals and their mix.")
@click.option("--abort-on-breach", is_flag=True, help="End as soon as a breach is proven.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@click.option("--order", "only_order", is_flag=True, hidden=True, help="Print what the sending process is told, secrets and all.")
@config_option
def command(
    scenario: str, config: Path, rate: str, duration: str, warm_up: str | None, *, as_json: bool, only_order: bool, **more: Any
) -> None:
    """Send a scenario's load and judge it against its SLOs.

    Exit 0 when they are proven to hold, 1 when one is proven broken, 3 when neither is, or the generator was no judge. A load
    that may not be (a target without load: true, above a ceiling or a limit, a request that isn't allowed) ends with 2 before a
    packet is sent.
    """
    from loadtests.order import as_json as written
    from runner.cli._load_order import read

    plan, target, order = read(config, _wish(scenario, rate, duration, warm_up, more))
    if only_order:
        click.echo(written(order))
        return
    if importlib.util.find_spec("locust") is None:
        unusable("a load needs Locust, which isn't installed here: pip install 'outrider[load]'")
    _say_beforehand(order)
    asyncio.run(_pay(plan, target, order))
    report = _sent(written(order))
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(_told(report)))
    raise click.exceptions.Exit(EXIT[report["verdict"]])


def _wish(scenario: str, rate: str, duration: str, warm_up: str | None, more: dict[str, Any]) -> Wish:
    from probes._fields import Rate, positive_seconds
    from runner.cli._load_order import Wish

    try:
        asked = Rate.parse(rate)
        seconds = positive_seconds(duration)
        before = positive_seconds(warm_up) if warm_up else seconds / 10
    except ValueError as error:
        unusable(f"outrider load: {error}")
    if more["arrivals"] == "closed" and more["users"] < 1:
        unusable("outrider load: a closed loop has --users")
    if before >= seconds:
        unusable("outrider load: --warm-up leaves nothing to judge")
    return Wish(scenario=scenario, rate=asked.amount / asked.window, duration=seconds, warm_up=before, **more)


def _say_beforehand(order: Order) -> None:
    """Whether the run is long enough to decide anything."""
    from loadtests.outlook import undecidable
    from loadtests.tasks import playable, subjects

    tasks = playable(order, date.today())  # noqa: DTZ011 - as in the process that sends
    names = {subject: [slo.name for slo in slos] for subject, slos in subjects(order, tasks).items()}
    for sentence in undecidable(order, names):
        click.echo(sentence, err=True)


async def _pay(plan: Plan, target: Target, order: Order) -> None:
    """Takes from the target's limit what the run may send at most, all or nothing, shared with the probes; exit 2 where it can't."""
    from loadtests.outlook import requests_at_most
    from loadtests.tasks import playable, requests_of
    from probes._core import Withheld
    from runner.engine.clock import SystemClock
    from runner.state import open_ledger

    if target.limit is None:
        return
    if order.arrivals == "closed":
        unusable(f"a closed loop sends as much as it can, and target {target.name} has a limit; take the limit away, or another arrival")
    count = requests_at_most(order, requests_of(playable(order, date.today())))  # noqa: DTZ011 - as above
    clock = SystemClock()
    ledger = await asyncio.to_thread(open_ledger, plan.state, clock)
    try:
        end = clock.time() + order.duration + order.drain
        await ledger.limit(target.name, count, int(target.limit.amount), target.limit.window, until=end)
    except Withheld as withheld:
        unusable(f"the run would send up to {count:,} requests: {withheld.message}; nothing was sent")
    finally:
        await ledger.aclose()


def _sent(order: str) -> dict[str, Any]:
    """Starts the process that sends, tells how it goes, and returns its report."""
    command = [sys.executable, "-m", "loadtests"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
        assert process.stdin  # noqa: S101 - for the type checker: both are pipes
        assert process.stdout  # noqa: S101 - as above
        process.stdin.write(order)
        process.stdin.close()
        report = _heard(process)
    if report is None:
        click.echo(f"INCONCLUSIVE  the process that sends ended with exit {process.returncode} and no report", err=True)
        raise click.exceptions.Exit(2 if process.returncode == 2 else 3)  # noqa: PLR2004 - it said what was wrong with its order
    return report


def _heard(process: subprocess.Popen[str]) -> dict[str, Any] | None:
    assert process.stdout  # noqa: S101 - as above
    report: dict[str, Any] | None = None
    told = -1
    while True:
        try:
            line = process.stdout.readline()
        except KeyboardInterrupt:  # the process has it too: it ends, and judges what there is
            continue
        if not line:
            return report
        said = json.loads(line)
        report = said.get("report", report)
        if "progress" in said and (second := round(said["progress"]["at"])) > told:
            told = second
            click.echo(_progress(said["progress"]), err=True)


def _progress(now: dict[str, Any]) -> str:
    p95 = f"p95 {now['p95'] * 1000:.0f} ms" if now["p95"] is not None else "nothing answered yet"
    sent = f"{now['offered']:.0f}/s due, {now['rate']:.0f}/s begun"
    return f"{now['at']:.0f} s of {now['duration']:.0f} s · {sent} · {p95} · {now['errors']} errors"


def _told(report: dict[str, Any]) -> list[str]:
    """The verdict first, then why, what was judged, and the generator's own health."""
    reasons = [f"  {reason['text']}" for reason in report["reasons"]] or ["  every SLO is proven to hold"]
    judged = [f"  {one['text']}" for one in report["judgements"] if f"  {one['text']}" not in reasons]
    health = report["generator"]
    achieved = f"{health['achieved'] * 100:.1f} %" if health["achieved"] is not None else "nothing"
    sent = f"  {health['started']:,} of {health['offered']:,} arrivals begun ({achieved}), {health['dropped']:,} dropped"
    notes = [f"  {note['text']}" for note in report["notes"]]
    return [f"{report['verdict'].upper()}  {report['scenario']}", *reasons, *judged, sent, *notes]
