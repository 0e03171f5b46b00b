"""`outrider health`: asks the runner on this machine whether it is alive; for a container's HEALTHCHECK.

It uses the standard library: a container asks every 30 s in a new process, and the HTTP client of Outrider takes half a second to import.
"""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import click

from runner.cli._operate import own_address
from runner.usage import unusable


@click.command("health", short_help="Ask the runner on this machine whether it is alive.")
@click.option("--url", default=None, help="The runner's address.  [default: http://$LISTEN, or http://127.0.0.1:9797]")
@click.option("--ready", is_flag=True, help="Ask whether it is ready, not only alive.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON: url, ok, status, message.")
@click.option("--timeout", default=2.0, show_default=True, help="Seconds to wait.")
def command(url: str | None, timeout: float, *, ready: bool, as_json: bool) -> None:
    """Ask the runner on this machine whether it is alive: exit 0, or 1 with the reason."""
    try:
        address = urlsplit(url or f"http://{own_address()}")
        host, port = address.hostname or "", address.port or 9797
    except ValueError:  # its own words may repeat a password
        address, host, port = urlsplit(""), "", 0
    if not host or address.scheme != "http":
        unusable(f"{'--url' if url else 'LISTEN'} is no address; write it like {'http://' if url else ''}127.0.0.1:9797")
    path = "/-/ready" if ready else "/-/healthy"
    try:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        connection.request("GET", path, headers={"Host": "localhost"})
        response = connection.getresponse()
        status: int | None = response.status
        text = response.read(1000).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        status, text = None, f"no runner responds at {host}:{port}: {error}"
    ok = status == http.client.OK
    if as_json:
        requested = f"http://{host}:{port}{path}"
        click.echo(json.dumps({"url": requested, "ok": ok, "status": status, "message": text}))
    else:
        click.echo(text, err=not ok)
    raise click.exceptions.Exit(0 if ok else 1)
