"""`outrider render`: writes the files that are generated from the code and the configuration, or lists the stale ones."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli._options import config_option
from runner.usage import unusable

PROMETHEUS = Path("infrastructure/monitoring/prometheus")


@click.command("render", short_help="Write the generated files, or list the stale ones.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where a committed file is stale.")
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="The repository's folder.  [default: here]")
@config_option
def command(config: Path, into: Path, *, check: bool) -> None:
    """Write the generated files.

    checks.schema.json, with which editors complete and validate checks.yaml; and for Prometheus, below
    infrastructure/monitoring/prometheus, the rules for the SLOs of checks.yaml and their tests. Variables play no part: the same file
    gives the same rules everywhere.
    """
    from runner.config.errors import PlanError
    from runner.config.purpose import Purpose
    from runner.config.read import read_plan
    from runner.render.schema import schema
    from runner.render.slo_rule_tests import FAST, SLOW, slo_rule_tests
    from runner.render.slo_rules import slo_rules

    try:
        slos = read_plan(config, environ={}, purpose=Purpose.DRY_RUN).slos
    except PlanError as error:
        unusable(str(error))
    generated = {
        Path("checks.schema.json"): schema(),
        PROMETHEUS / "rules/slo.yaml": slo_rules(slos),
        PROMETHEUS / "tests/slo-pages.yaml": slo_rule_tests(slos, step=FAST),
        PROMETHEUS / "tests/slo-tickets.yaml": slo_rule_tests(slos, step=SLOW),
    }
    stale = [path for path, text in generated.items() if not (into / path).exists() or (into / path).read_text("utf-8") != text]
    for path in stale:
        if not check:
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            (into / path).write_text(generated[path], "utf-8")
        click.echo(f"{into / path} is stale; run outrider render" if check else f"wrote {into / path}")
    if not stale:
        click.echo("all generated files are up to date")
    raise click.exceptions.Exit(1 if check and stale else 0)
