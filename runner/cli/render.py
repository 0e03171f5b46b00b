"""`outrider render`: writes the files that are generated from the code and the configuration, or lists the stale ones."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("render", short_help="Write the generated files, or list the stale ones.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where a committed file is stale.")
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="The repository's folder.  [default: here]")
def command(into: Path, *, check: bool) -> None:
    """Write the generated files: checks.schema.json, with which editors complete and validate checks.yaml."""
    from runner.render.schema import schema

    generated = {into / "checks.schema.json": schema()}
    stale = [path for path, text in generated.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if not check:
            path.write_text(generated[path], "utf-8")
        click.echo(f"{path} is stale; run outrider render" if check else f"wrote {path}")
    if not stale:
        click.echo("all generated files are up to date")
    raise click.exceptions.Exit(1 if check and stale else 0)
