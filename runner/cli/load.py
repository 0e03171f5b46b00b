"""`outrider load`: does the system meet its SLOs at this load? Locust sends, in a process of its own."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner import our_version
from runner.cli._completion import SCENARIO
from runner.cli._options import Unit, config_option
from runner.cli._reports import LOAD_FORMATS, deliver_load_reports, load_report_options
from runner.usage import unusable

if TYPE_CHECKING:
    from loadtests.order import Order
    from loadtests.result import Progress, Spend
    from probes.fields import Rate
    from runner.load.order import LoadOptions


@click.command("load", short_help="Run a load test and judge it by its SLOs.")
@click.argument("scenario", default="", shell_complete=SCENARIO)
@click.option(
    "--rate",
    type=Unit("rate"),
    default="10/s",
    show_default=True,
    help="Rate of arrivals, such as 50/s; the peak of the shape, except for spikes.",
)
@click.option("--duration", type=Unit("duration"), default="60s", show_default=True, help="Length of the run.")
@click.option("--shape", default="constant", show_default=True, help="Shape of the rate: constant, ramp, steps, spike, soak or breakpoint.")
@click.option(
    "--arrivals",
    default="poisson",
    show_default=True,
    type=click.Choice(["poisson", "even", "closed"]),
    help="closed: users who wait for responses; the others arrive independently of them.",
)
@click.option("--users", default=0, help="Number of users, for --arrivals closed.")
@click.option(
    "--pause", type=Unit("duration"), default=None, metavar="TIME", help="Pause of a user between two tasks, for --arrivals closed."
)
@click.option(
    "--requests",
    default=0,
    type=click.IntRange(0),
    help="Most requests to send, for --arrivals closed.  [default: 10000 if a limit applies]",
)
@click.option(
    "--warm-up",
    type=Unit("duration"),
    default=None,
    metavar="TIME",
    help="Time at the start that is shown but not judged.  [default: a tenth of the duration]",
)
@click.option(
    "--cool-down",
    type=Unit("duration"),
    default=None,
    metavar="TIME",
    help="Time at the end that is shown but not judged.  [default: none]",
)
@click.option(
    "--workers", default=0, show_default=True, type=click.IntRange(0, 64), help="Number of sending processes; 0 sends from a single one."
)
@click.option("--seed", default=1, show_default=True, help="Seed for arrivals and mix.")
@click.option("--abort-on-breach", is_flag=True, help="End as soon as a breach is proven.")
@click.option("--find-capacity", is_flag=True, help="Search for the highest rate that meets the SLOs, starting at --rate.")
@click.option(
    "--expect-workers", default=0, type=click.IntRange(0, 1000), help="Number of workers on other machines, which connect to --bind."
)
@click.option(
    "--bind", default="127.0.0.1:5557", show_default=True, metavar="HOST:PORT", help="Address to which workers on other machines connect."
)
@load_report_options
@click.option("--metrics", default=None, metavar="[HOST:]PORT", help="Serve Prometheus metrics during the run.")
@click.option("--annotate", is_flag=True, help="Annotate the run in Grafana, as a region with its verdict.")
@click.option("--order", "only_order", is_flag=True, hidden=True, help="Print the order for the sending process, with all secrets.")
@config_option
def command(
    scenario: str,
    config: Path,
    rate: Rate,
    duration: float,
    metrics: str | None,
    *,
    annotate: bool,
    only_order: bool,
    find_capacity: bool,
    **more: Any,
) -> None:
    """Run a load test and judge it by its SLOs.

    Exit 0 when every SLO is proven to be met, 1 when one is proven to be breached, 3 when neither is proven or the load
    generator was overloaded. A load that is not allowed (a target without load: true, a rate above a ceiling or a limit, a
    request that the target doesn't allow) ends with 2 before a packet is sent.
    """
    from judge.redact import Redactor
    from loadtests.capacity import SearchStopped
    from loadtests.order import as_json
    from loadtests.shapes import peak
    from probes.core import QuotaRefused
    from runner.grafana.deployment import grafana_of
    from runner.load.annotation import annotate_load
    from runner.load.order import prepare
    from runner.load.process import most_that_holds, run_load
    from runner.load.quota import acquire
    from runner.load.view import consoles, show_report

    say = partial(click.echo, err=True)
    wanted = {name: more.pop(f"as_{name}") for name in LOAD_FORMATS}
    options = _options(scenario, rate, duration, more, find_capacity=find_capacity)
    prepared = prepare(config, options, annotate=annotate)
    plan, order = prepared.plan, prepared.order
    try:
        if only_order:  # for a load that plain Locust sends: nobody knows what it sent, so that nothing is given back
            asyncio.run(acquire(plan.state, order.spends, order.duration + order.drain))
            click.echo(as_json(order))
            return
        if importlib.util.find_spec("locust") is None:
            unusable("a load test needs Locust, which isn't installed here; in a clone: make install, elsewhere requirements/load.txt")
        if annotate:  # before anything is sent: a message where the address is empty, and exit 2 where there is no section
            grafana_of(plan, require=False, say=say)
        _show_outlook(order, prepared.at_rate(peak(order.stages)).spends if find_capacity else order.spends, find_capacity=find_capacity)
        with ExitStack() as stack:
            run = partial(run_load, plan.state, Redactor(plan.secrets), on_progress=_progress_shown(order, metrics, stack))
            report = most_that_holds(peak(order.stages), plan.load.rate, prepared.at_rate, run) if find_capacity else run(order)
    except (QuotaRefused, SearchStopped) as refused:
        unusable(f"{refused}; nothing was sent")
    if "-" not in wanted.values():
        show_report(consoles()[0], report)
    deliver_load_reports(report, wanted)
    if annotate:
        asyncio.run(annotate_load(plan, report, say))
    raise click.exceptions.Exit(report.verdict.exit_code)


def _progress_shown(order: Order, metrics: str | None, stack: ExitStack) -> Callable[[Progress], None]:
    """What takes each snapshot: the bar, and the metrics where they are asked for."""
    from probes.text import host_and_port
    from runner.load.metrics import LoadMetrics, address, serving
    from runner.load.view import View, consoles

    _, err = consoles()
    view = View(err, order.scenario)
    readers = [view.show]
    if metrics is not None:
        kept = LoadMetrics(scenario=order.scenario, target=order.target.name, shape=order.shape, arrivals=order.arrivals)
        try:
            host, port = address(metrics)
            port = stack.enter_context(serving(kept, host, port))
        except (OSError, ValueError) as error:
            unusable(f"outrider load: --metrics {metrics}: {getattr(error, 'strerror', None) or error}; nothing was sent")
        click.echo(f"metrics: http://{host_and_port(host, port)}/metrics", err=True)
        readers.append(kept.show)
    stack.enter_context(view.live())

    def show(now: Progress) -> None:
        for reader in readers:
            reader(now)

    return show


def _options(scenario: str, rate: Rate, seconds: float, more: dict[str, Any], *, find_capacity: bool) -> LoadOptions:
    from runner.load.order import LoadOptions

    given = {name: value for name in ("warm_up", "cool_down", "pause") if (value := more.pop(name)) is not None}
    times = {"warm_up": seconds / 10, "cool_down": 0.0, "pause": 0.0} | given
    if more["workers"] and more["expect_workers"]:
        unusable("outrider load: choose either --workers (on this machine) or --expect-workers (on others)")
    if more["arrivals"] == "closed" and more["users"] < max(1, more["workers"], more["expect_workers"]):
        unusable("outrider load: --arrivals closed needs --users N, at least one per worker")
    if more["arrivals"] == "closed" and find_capacity:
        unusable("outrider load: --find-capacity searches for a rate, but --arrivals closed has none")
    if more["arrivals"] != "closed" and times["pause"]:
        unusable("outrider load: --pause needs --arrivals closed; other arrivals don't wait")
    if times["warm_up"] + times["cool_down"] >= seconds:
        unusable("outrider load: --warm-up and --cool-down leave nothing to judge")
    return LoadOptions(scenario=scenario, rate=rate.amount / rate.window, duration=seconds, version=our_version(), **times, **more)


def _show_outlook(order: Order, spends: Iterable[Spend], *, find_capacity: bool) -> None:
    """What the run may spend, and whether it is long enough to decide anything."""
    from loadtests.outlook import undecidable
    from loadtests.reports.words import duration
    from loadtests.tasks import names_of_slos

    for spend in spends:
        of = f" of the {spend.allowed:,.0f} that it allows in {duration(spend.per or 0.0)}" if spend.allowed is not None else ""
        trial = " in the first trial" if find_capacity else ""
        click.echo(f"{spend.what}: at most {spend.amount:,.0f} {spend.unit}{trial}{of}", err=True)
    for sentence in undecidable(order, names_of_slos(order)):
        click.echo(f"{sentence}{', so that each trial lasts longer' if find_capacity else ''}", err=True)
