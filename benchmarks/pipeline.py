"""CPU time of a run in the live pipeline: `outrider run`, scraped by Prometheus, beside the blackbox_exporter driven by Prometheus.

    .venv/bin/python benchmarks/pipeline.py [--rate 100] [--interval 10] [--rounds 5] [--seconds 20] [--tree before=/path ...]
        [--tls]

Outrider runs as an operator runs it: with its journal, a state folder, the evidence of failures and the scrape. Each contender asks
the same target on loopback, which counts the requests that came. All contenders run at the same time, each held to one core, and
each round measures all of them in the same seconds: neighbours on the machine disturb all alike. `--tree NAME=FOLDER` adds the
Outrider of another folder, such as a checkout of an earlier commit. With `--tls` each run makes a fresh handshake, and verifies the
target's certificate. `--apart` starts and measures one after the other instead, for
rates at which one machine can't carry them together.

CPU is that of the whole process by the kernel's counters, divided by the requests that reached the target. Figures are medians of the
rounds, with the least and the most. Futex calls are counted by strace afterwards, where it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from benchmarks._fixtures import target, write_checks

EXPORTER, PROMETHEUS = "prometheus-blackbox-exporter", "prometheus"
HERE = Path(__file__).resolve().parent.parent
TRACED = 5  # seconds for which strace counts


@dataclass(slots=True)
class Contender:
    """A prober and the Prometheus beside it. `path` is what it asks of the target."""

    name: str
    path: str
    prober: int  # process ids
    prometheus: int
    page: str  # what its Prometheus reads
    costs: list[float] = field(default_factory=list)  # microseconds a run, one a round
    both: list[float] = field(default_factory=list)


def cpu(pid: int) -> float:
    """Seconds of CPU time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """Mebibytes that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def get(url: str) -> str:
    """A page."""
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - our own servers on loopback
        text: str = response.read().decode()
        return text


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def started(command: list[str], log: Path, core: int, folder: Path | None = None) -> Iterator[int]:
    """A process on one core; ended when the context is left."""
    with log.open("w") as lines:
        process = subprocess.Popen(["taskset", "-c", str(core), *command], stdout=lines, stderr=lines, cwd=folder)
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def wait_for(url: str, log: Path) -> None:
    """Waits until a page is there."""
    for _ in range(600):
        try:
            get(url)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{url} doesn't come:\n{log.read_text()[-2000:]}")


def prometheus(stack: ExitStack, folder: Path, name: str, core: int, scrape: str, interval: float) -> int:
    """A Prometheus with one scrape configuration; its process id."""
    place = folder / f"prometheus-{name}"
    place.mkdir()
    (place / "prometheus.yml").write_text(
        f"global: {{scrape_interval: {interval:g}s, scrape_timeout: {min(interval, 10):g}s}}\nscrape_configs:\n{scrape}"
    )
    port = free_port()
    options = [f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data", f"--web.listen-address=127.0.0.1:{port}"]
    pid = stack.enter_context(started([PROMETHEUS, *options, "--log.level=error"], place / "log", core))
    wait_for(f"http://127.0.0.1:{port}/-/ready", place / "log")
    return pid


def outrider(stack: ExitStack, folder: Path, name: str, tree: Path, target: str, chosen: argparse.Namespace) -> Contender:
    """`outrider run` of a tree, with as many plain HTTP checks as the rate needs."""
    place = folder / name
    place.mkdir()
    port, checks = free_port(), int(chosen.rate * chosen.interval)
    tls = f", tls: {{ca: '{folder}/ca.pem'}}" if chosen.tls else ""
    file = write_checks(place, f"{target}/{name}", checks, chosen.interval, port=port, more=tls)
    command = [sys.executable, "-m", "runner.cli", "run", "--config", str(file)]
    pid = stack.enter_context(started(command, place / "log", chosen.core, tree))
    page = f"http://127.0.0.1:{port}"
    wait_for(f"{page}/-/healthy", place / "log")
    scrape = f"  - {{job_name: outrider, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n"
    return Contender(name, f"/{name}", pid, prometheus(stack, folder, name, chosen.core, scrape, chosen.interval), f"{page}/metrics")


def exporter(stack: ExitStack, folder: Path, target: str, chosen: argparse.Namespace) -> Contender:
    """The blackbox_exporter, asked by Prometheus once an interval for each of as many targets."""
    place = folder / "exporter"
    place.mkdir()
    tls = f", tls_config: {{ca_file: '{folder}/ca.pem'}}" if chosen.tls else ""
    (place / "config.yml").write_text(f"modules: {{http_2xx: {{prober: http, http: {{preferred_ip_protocol: ip4{tls}}}}}}}\n")
    port = free_port()
    command = [EXPORTER, f"--config.file={place}/config.yml", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    pid = stack.enter_context(started(command, place / "log", chosen.core))
    page = f"http://127.0.0.1:{port}"
    wait_for(f"{page}/-/healthy", place / "log")
    targets = ", ".join(f"'{number}'" for number in range(int(chosen.rate * chosen.interval)))
    scrape = f"""
  - job_name: blackbox
    metrics_path: /probe
    params: {{module: [http_2xx], target: ['{target}/exporter']}}
    static_configs: [{{targets: [{targets}]}}]
    relabel_configs:
      - {{source_labels: [__address__], target_label: check}}
      - {{target_label: __address__, replacement: '127.0.0.1:{port}'}}
"""
    reader = prometheus(stack, folder, "exporter", chosen.core, scrape, chosen.interval)
    probe = f"{page}/probe?module=http_2xx&target={target}/exporter"
    return Contender("blackbox_exporter", "/exporter", pid, reader, probe)


def certificate(folder: Path) -> str:
    """A certificate for the target with its key, as a file; its authority's is beside it as ca.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "target.pem"))
    return str(folder / "target.pem")


def measure(contenders: list[Contender], target: str, seconds: float) -> None:
    """Adds one round to all contenders."""
    before = [(cpu(one.prober), cpu(one.prometheus)) for one in contenders]
    counts = json.loads(get(f"{target}/counts"))
    time.sleep(seconds)
    after = [(cpu(one.prober), cpu(one.prometheus)) for one in contenders]
    ends = json.loads(get(f"{target}/counts"))
    for one, (prober, reader), (prober_after, reader_after) in zip(contenders, before, after, strict=True):
        runs = ends.get(one.path, 0) - counts.get(one.path, 0)
        one.costs.append((prober_after - prober) / runs * 1e6)
        one.both.append((prober_after - prober + reader_after - reader) / runs * 1e6)


def futexes(one: Contender, target: str) -> str:
    """Futex calls of the prober for each run, by strace."""
    if not shutil.which("strace"):
        return "no strace"
    counts = json.loads(get(f"{target}/counts"))
    traced = subprocess.run(
        ["timeout", "-s", "INT", str(TRACED), "strace", "-f", "-c", "-e", "trace=futex", "-p", str(one.prober)],
        capture_output=True,
        text=True,
        check=False,
    )
    runs = json.loads(get(f"{target}/counts"))[one.path] - counts[one.path]
    found = re.search(r"(\d+)(?:\s+\d+)?\s+futex", traced.stderr)
    return f"{int(found[1]) / runs:.2f}" if found else "0"


def row(one: Contender, first: Contender, target: str) -> str:
    """One line of the table."""
    alone, both = statistics.median(one.costs), statistics.median(one.both)
    ratios = [mine / its for mine, its in zip(one.costs, first.costs, strict=True)]
    pairs = [mine / its for mine, its in zip(one.both, first.both, strict=True)]
    samples = sum(not line.startswith("#") for line in get(one.page).splitlines())
    cells = (
        one.name,
        f"{alone:,.0f} ({min(one.costs):,.0f} to {max(one.costs):,.0f})",
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        f"{both:,.0f}",
        f"{statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})",
        f"{memory(one.prober):.0f} + {memory(one.prometheus):.0f} MB",
        futexes(one, target),
        f"{samples:,}",
    )
    return f"| {' | '.join(cells)} |"


HEADER = """| | CPU a run, us | of the exporter's | with Prometheus, us | of theirs | memory | futex calls a run | samples on a page |
|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Runs and prints a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rate", type=float, default=100.0, help="runs a second")
    options.add_argument("--interval", type=float, default=10.0, help="seconds between two runs of a check, and between two scrapes")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=20.0, help="of each round")
    options.add_argument("--core", type=int, default=0, help="the core of the contenders; the target has the other ones")
    options.add_argument("--tls", action="store_true", help="https, with a fresh handshake each time")
    options.add_argument("--apart", action="store_true", help="one contender at a time")
    options.add_argument("--tree", action="append", default=[], metavar="NAME=FOLDER", help="another Outrider")
    chosen = options.parse_args()
    for program in (EXPORTER, PROMETHEUS, "taskset"):
        if not shutil.which(program):
            raise SystemExit(f"{program} isn't installed")
    trees = {"outrider": HERE} | {name: Path(folder) for name, _, folder in (one.partition("=") for one in chosen.tree)}
    with ExitStack() as outside:
        folder = Path(outside.enter_context(tempfile.TemporaryDirectory()))
        addresses = outside.enter_context(target(*([certificate(folder)] if chosen.tls else [])))
        plain, asked = addresses[0], addresses[-1]
        makes = [lambda stack: exporter(stack, folder, asked, chosen)]
        makes += [lambda stack, n=n, t=t: outrider(stack, folder, n, t, asked, chosen) for n, t in trees.items()]
        rows: list[Contender] = []
        print(f"{time.strftime('%Y-%m-%d')}, {'https, ' * chosen.tls}{chosen.rate:g} runs a second, ", end="")
        print(f"each check and scrape every {chosen.interval:g} s, ", end="")
        print(f"{chosen.rounds} rounds of {chosen.seconds:g} s, {'one at a time' if chosen.apart else 'all together'}\n\n{HEADER}")
        if chosen.apart:
            texts = []
            for make in makes:
                with ExitStack() as stack:
                    one = make(stack)
                    time.sleep(chosen.interval + 12)
                    for _ in range(chosen.rounds):
                        measure([one], plain, chosen.seconds)
                    rows.append(one)
                    texts.append(row(one, rows[0], plain))
                    print(texts[-1], flush=True)
        else:
            with ExitStack() as stack:
                rows = [make(stack) for make in makes]
                time.sleep(chosen.interval + 12)  # until each check has run and was scraped
                for _ in range(chosen.rounds):
                    measure(rows, plain, chosen.seconds)
                for one in rows:
                    print(row(one, rows[0], plain), flush=True)


if __name__ == "__main__":
    main()
