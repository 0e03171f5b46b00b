"""How often a command reads checks.yaml: counted by Python's own audit events, in a process of its own."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]
ROOT = Path(__file__).parents[3]
COUNTING = """
import atexit, os, sys
config, *words = sys.argv[1:]
opened = []
sys.addaudithook(lambda event, args: opened.append(1) if event == "open" and str(args[0]) == config else None)
atexit.register(lambda: print(f"opened {len(opened)} times", file=sys.stderr))
from runner.cli import main
sys.argv[1:] = [*words, "--config", config]
main()
"""
CHECKS = """version: 1
targets:
  api: {url: "http://127.0.0.1:9", load: true}
  other: {url: "http://127.0.0.1:9", load: "${OTHER:-false}"}
slos:
  p95: {objective: 95%, threshold: 500ms}
load:
  scenarios:
    page: {mix: {page: 1}, slos: [p95]}
grafana: {url: "${GRAFANA:-}"}
server: {listen: "127.0.0.1:0"}
checks:
  page: {kind: journey, target: api, steps: [{name: page, get: /page}], tags: [smoke], slos: [p95]}
"""


@pytest.mark.parametrize(
    "words",
    [
        "load page --order",
        "load page --annotate --duration 2s --metrics nowhere",
        "probe page",
        "gate --wait 200ms --rounds 1",
        "gate --annotate --wait 200ms --rounds 1",
        "validate",
        "validate --no-secrets",
        "annotate flush",
        "run",
    ],
)
def test_a_command_reads_the_file_once(tmp_path: Path, words: str) -> None:
    """Targets, journeys, the scenario and Grafana come from one reading, so that all are of one state of the file."""
    config = tmp_path / "checks.yaml"
    config.write_text(CHECKS)
    command = (sys.executable, "-c", COUNTING, str(config), *words.split())
    with Popen(command, cwd=ROOT, stdout=PIPE, stderr=PIPE, text=True) as process:
        if words == "run":
            assert process.stdout
            next(line for line in process.stdout if "the page is at" in line)
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert err.splitlines()[-1] == "opened 1 times", err
