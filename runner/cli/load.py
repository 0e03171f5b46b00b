"""`outrider load`: does the system hold its SLOs at this load? Locust sends, in a process of its own."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner import our_version
from runner.cli._load_reports import FORMATS, load_reports
from runner.cli._options import config_option, load_plan
from runner.usage import unusable

if TYPE_CHECKING:
    from loadtests.order import Order
    from loadtests.result import LoadReport, Progress
    from runner.config.plan import Plan
    from runner.load.order import Wish


@click.command("load", short_help="Hold the SLOs against a load.")
@click.argument("scenario")
@click.option("--rate", default="10/s", show_default=True, help="Arrivals, such as 50/s: at the shape's top, spikes aside.")
@click.option("--duration", default="60s", show_default=True, help="How long they come.")
@click.option("--shape", default="constant", show_default=True, help="constant, ramp, steps, spike, soak or breakpoint.")
@click.option(
    "--arrivals", default="poisson", show_default=True, type=click.Choice(["poisson", "even", "closed"]), help="closed: users who wait."
)
@click.option("--users", default=0, help="Of a closed loop: how many.")
@click.option("--pause", default=None, metavar="TIME", help="Of a closed loop: how long a user waits between two tasks.")
@click.option(
    "--requests",
    default=0,
    type=click.IntRange(0),
    help="Of a closed loop: the most that it sends.  [default: 10000 where there is a limit]",
)
@click.option("--warm-up", default=None, metavar="TIME", help="Marked and not judged.  [default: a tenth of the duration]")
@click.option("--cool-down", default=None, metavar="TIME", help="At the end, marked and not judged.  [default: none]")
@click.option("--workers", default=0, show_default=True, type=click.IntRange(0, 64), help="Processes that send; 0: one alone.")
@click.option("--seed", default=1, show_default=True, help="Of the arrivals and their mix.")
@click.option("--abort-on-breach", is_flag=True, help="End as soon as a breach is proven.")
@click.option("--find-capacity", is_flag=True, help="Search, from --rate on, for the highest rate that holds.")
@click.option("--expect-workers", default=0, type=click.IntRange(0, 1000), help="Workers of other machines, which come to --bind.")
@click.option("--bind", default="127.0.0.1:5557", show_default=True, metavar="HOST:PORT", help="Where workers of other machines come to.")
@load_reports
@click.option("--metrics", default=None, metavar="[HOST:]PORT", help="Serve Prometheus metrics while it runs.")
@click.option("--annotate", is_flag=True, help="Mark the run in Grafana, as a region with its verdict.")
@click.option("--order", "only_order", is_flag=True, hidden=True, help="Print what the sending process is told, secrets and all.")
@config_option
def command(
    scenario: str,
    config: Path,
    rate: str,
    duration: str,
    metrics: str | None,
    *,
    annotate: bool,
    only_order: bool,
    find_capacity: bool,
    **more: Any,
) -> None:
    """Send a scenario's load and judge it against its SLOs.

    Exit 0 when they are proven to hold, 1 when one is proven broken, 3 when neither is, or the generator was no judge. A load
    that may not be (a target without load: true, above a ceiling or a limit, a request that isn't allowed) ends with 2 before a
    packet is sent.
    """
    from judge.redact import Redactor
    from loadtests.order import as_json as written
    from loadtests.shapes import peak
    from probes.core import QuotaRefused
    from runner.grafana.deployment import has_grafana
    from runner.load.annotation import mark
    from runner.load.order import at_rate, read
    from runner.load.process import most_that_holds, paid_run

    wanted = {name: more.pop(f"as_{name}") for name in FORMATS}
    plan, target, order = read(config, _wish(scenario, rate, duration, more, find_capacity=find_capacity))
    if only_order:
        _pay_for_another(plan, order)
        click.echo(written(order))
        return
    if importlib.util.find_spec("locust") is None:
        unusable("a load needs Locust, which isn't installed here; in a clone: make install, elsewhere requirements/load.txt")
    marked = load_plan(config, marking=True, probing=False) if annotate else None
    if marked is not None:
        has_grafana(marked, require=False)  # before anything is sent: an empty address is said, and exit 2 where there is no section
    _say_beforehand(order, find_capacity=find_capacity)
    with ExitStack() as served:
        run = partial(paid_run, plan.state, Redactor(plan.secrets), tell=_shown(order, metrics, served))
        try:
            if find_capacity:
                at = partial(at_rate, plan, target, order)
                report = most_that_holds(peak(order.stages), plan.load.rate, lambda rate: run(at(rate)))
            else:
                report = run(order)
        except QuotaRefused as refused:
            unusable(f"{refused.message}; nothing was sent")
    _told(report, wanted)
    if marked is not None:
        asyncio.run(mark(marked, report))
    raise click.exceptions.Exit(report.verdict.exit_code)


def _pay_for_another(plan: Plan, order: Order) -> None:
    """Pays for a load that plain Locust sends: nobody knows what it sent, so that nothing is given back."""
    from probes.core import QuotaRefused
    from runner.load.quota import pay

    try:
        asyncio.run(pay(plan.state, order.spends, order.duration + order.drain))
    except QuotaRefused as refused:
        unusable(f"{refused.message}; nothing was sent")


def _shown(order: Order, metrics: str | None, served: ExitStack) -> Callable[[Progress], None]:
    """What takes each snapshot: the bar, and the metrics where they are asked for."""
    from runner.load.metrics import LoadMetrics, address, serving
    from runner.load.view import View, consoles

    _, err = consoles()
    view = View(err, order.scenario)
    takers = [view.show]
    if metrics is not None:
        kept = LoadMetrics(scenario=order.scenario, target=str(order.target["name"]), shape=order.shape, arrivals=order.arrivals)
        try:
            port = served.enter_context(serving(kept, *address(metrics)))
        except (OSError, ValueError) as error:
            unusable(f"outrider load: --metrics {metrics}: {getattr(error, 'strerror', None) or error}; nothing was sent")
        click.echo(f"metrics at port {port}", err=True)
        takers.append(kept.show)
    served.enter_context(view.live())

    def show(now: Progress) -> None:
        for taker in takers:
            taker(now)

    return show


def _told(report: LoadReport, wanted: dict[str, str | None]) -> None:
    """The verdict, or the data that was asked for in its place; the other reports beside it."""
    from runner.cli._load_reports import deliver
    from runner.load.view import consoles, told

    if "-" not in wanted.values():
        told(consoles()[0], report)
    deliver(report, wanted)


def _wish(scenario: str, rate: str, duration: str, more: dict[str, Any], *, find_capacity: bool) -> Wish:
    from probes.fields import Rate, positive_seconds
    from runner.load.order import Wish

    given = {name: more.pop(name) for name in ("warm_up", "cool_down", "pause")}
    try:
        asked = Rate.parse(rate)
        seconds = positive_seconds(duration)
        times: dict[str, Any] = {"warm_up": seconds / 10, "cool_down": 0.0, "pause": 0.0}
        times |= {name: positive_seconds(text) for name, text in given.items() if text}
    except ValueError as error:
        unusable(f"outrider load: {error}")
    if more["workers"] and more["expect_workers"]:
        unusable("outrider load: --workers are of this machine, --expect-workers of others; choose one of them")
    if more["arrivals"] == "closed" and more["users"] < max(1, more["workers"], more["expect_workers"]):
        unusable("outrider load: a closed loop has --users, one for each worker at least")
    if more["arrivals"] == "closed" and find_capacity:
        unusable("outrider load: --find-capacity looks for a rate, which a closed loop has not")
    if more["arrivals"] != "closed" and times["pause"]:
        unusable("outrider load: --pause belongs to a closed loop; open arrivals come when they are due")
    if times["warm_up"] + times["cool_down"] >= seconds:
        unusable("outrider load: --warm-up and --cool-down leave nothing to judge")
    return Wish(scenario=scenario, rate=asked.amount / asked.window, duration=seconds, version=our_version(), **times, **more)


def _say_beforehand(order: Order, *, find_capacity: bool) -> None:
    """What the run may spend, and whether it is long enough to decide anything."""
    from loadtests.outlook import undecidable
    from loadtests.reports.words import duration
    from loadtests.tasks import playable, subjects

    for spend in order.spends:
        of = f" of the {spend.allowed:,.0f} that it allows in {duration(spend.per or 0.0)}" if spend.allowed is not None else ""
        trial = " in the first trial" if find_capacity else ""
        click.echo(f"{spend.what}: at most {spend.amount:,.0f} {spend.unit}{trial}{of}", err=True)

    tasks = playable(order, date.today())  # noqa: DTZ011 - as in the process that sends
    names = {subject: [slo.name for slo in slos] for subject, slos in subjects(order, tasks).items()}
    for sentence in undecidable(order, names):
        click.echo(sentence, err=True)
