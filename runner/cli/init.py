"""`outrider init`: writes a first checks.yaml."""

from __future__ import annotations

import json
from pathlib import Path

import click

from runner.cli._options import config_option
from runner.usage import unusable

FIRST = """\
# What Outrider checks. Try it: outrider validate, outrider probe, outrider run
# Durations, sizes and shares have units: 500ms, 30s, 64KiB, 99.9%. ${NAME} is a variable, ${file:/run/secrets/x} a file.
version: 1
service: my-service

defaults: {interval: 30s, timeout: 5s}

targets:
  app:
    url: URL

slos:
  availability: {objective: 99.9%, window: 30d}
  fast: {objective: 95%, threshold: 500ms, window: 30d}   # 95 % of the runs pass within 500 ms

checks:
  home:
    kind: http                      # also tcp, tls, dns, icmp, redis, postgres, websocket, grpc, journey, ...
    target: app
    path: /
    expect: {status: 200}           # also text, regex, json, headers, within
    slos: [availability, fast]
    tags: [smoke]                   # outrider gate runs the checks with this tag after a deployment
    alert: ticket                   # page, ticket or none
"""


@click.command("init", short_help="Write a first checks.yaml.")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The address of the service to check.")
@config_option
def command(config: Path, url: str) -> None:
    """Write a small checks.yaml with comments. A file that has settings stays as it is: exit 2."""
    from probes.fields import split_url

    try:
        split = split_url(url)
    except ValueError as error:
        unusable(f"--url {error}")
    if split.username is not None or split.query or split.fragment or "${" in url:
        unusable("--url must be an address without a user, a password and a query; write those into the file, as variables")
    try:
        with config.open("a+", encoding="utf-8", errors="replace") as file:
            file.seek(0)
            there = file.read().splitlines(keepends=True)
            if any(line.strip() and not line.lstrip().startswith("#") for line in there):
                unusable(f"{config} is there already, and stays as it is; name another file with --config")
            line_end = "\n" if there and not there[-1].endswith("\n") else ""
            file.write(line_end + FIRST.replace("URL", json.dumps(url)))
    except OSError as error:
        unusable(f"{config} can't be written: {error.strerror or error}")
    click.echo(f"{config} is written. Next: outrider validate, then outrider probe")
