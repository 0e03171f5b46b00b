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

from runner.cli._load_mark import mark, plan_for_mark
from runner.cli._load_reports import FORMATS, load_reports
from runner.cli._options import config_option, unusable

if TYPE_CHECKING:
    from loadtests.order import Order
    from loadtests.result import LoadReport, Progress
    from runner.cli._load_order import Wish


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
    warm_up: str | None,
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
    from loadtests.order import as_json as written
    from runner.cli._load_order import read
    from runner.cli._load_run import most_that_holds, paid_run

    wanted = {name: more.pop(f"as_{name}") for name in FORMATS}
    plan, target, order = read(config, _wish(scenario, rate, duration, warm_up, more, find_capacity=find_capacity))
    if only_order:
        click.echo(written(order))
        return
    if importlib.util.find_spec("locust") is None:
        unusable("a load needs Locust, which isn't installed here: pip install 'outrider[load]'")
    marked = plan_for_mark(config) if annotate else None
    _say_beforehand(order)
    with ExitStack() as served:
        run = partial(paid_run, plan, target, tell=_shown(order, metrics, served))
        report = most_that_holds(order, plan.load.rate, run) if find_capacity else run(order)
    _told(report, wanted)
    if marked is not None:
        asyncio.run(mark(marked, report))
    raise click.exceptions.Exit(report.verdict.exit_code)


def _shown(order: Order, metrics: str | None, served: ExitStack) -> Callable[[Progress], None]:
    """What takes each snapshot: the bar, and the metrics where they are asked for."""
    from runner.cli._load_metrics import LoadMetrics, address, serving
    from runner.cli._load_view import View, consoles

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
    from runner.cli._load_view import consoles, told

    if "-" not in wanted.values():
        told(consoles()[0], report)
    deliver(report, wanted)


def _wish(scenario: str, rate: str, duration: str, warm_up: str | None, more: dict[str, Any], *, find_capacity: bool) -> Wish:
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
    if more["arrivals"] == "closed" and find_capacity:
        unusable("outrider load: --find-capacity looks for a rate, which a closed loop has not")
    if before >= seconds:
        unusable("outrider load: --warm-up leaves nothing to judge")
    return Wish(scenario=scenario, rate=asked.amount / asked.window, duration=seconds, warm_up=before, **more)


def _say_beforehand(order: Order) -> None:
    """What the run may spend, and whether it is long enough to decide anything."""
    from loadtests.outlook import undecidable
    from loadtests.tasks import playable, subjects

    for spend in order.spends:
        of = f" of the {spend.allowed:,.0f} that it allows in {spend.per:g} s" if spend.allowed is not None else ""
        click.echo(f"{spend.what}: at most {spend.amount:,.0f} {spend.unit}{of}", err=True)

    tasks = playable(order, date.today())  # noqa: DTZ011 - as in the process that sends
    names = {subject: [slo.name for slo in slos] for subject, slos in subjects(order, tasks).items()}
    for sentence in undecidable(order, names):
        click.echo(sentence, err=True)
