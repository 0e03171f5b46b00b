from __future__ import annotations

from pathlib import Path

import pytest

from probes.kinds.health_metrics import HealthMetrics
from probes.kinds.http import Http
from probes.kinds.journey import Journey
from probes.kinds.postgres import Postgres
from probes.kinds.redis import Redis
from probes.kinds.tcp import Tcp
from probes.kinds.tls import Handshake
from probes.probe import Probe
from runner.config.errors import PlanError
from runner.config.read import read_plan

BAD = Path(__file__).parent / "bad"
KINDS: dict[str, type[Probe]] = {
    "health_metrics": HealthMetrics,
    "http": Http,
    "journey": Journey,
    "postgres": Postgres,
    "redis": Redis,
    "tcp": Tcp,
    "tls": Handshake,
}
ENVIRONMENT = {
    "FIVE": "5",
    "WORD": "word",
    "API_KEY": "sk-not-for-anybody",
    "DSN": "postgresql://role:pa55%20word@db:badport/x",
}
SECRETS = ("sk-not-for-anybody", "pa55%20word", "pa55 word", "hunter2-from-a-file")


def said(file: Path) -> str:
    """Loads a wrong file, and gives what is said about it."""
    with pytest.raises(PlanError) as error:
        read_plan(file, environ=ENVIRONMENT, kinds=KINDS)
    return str(error.value).replace(f"{file.parent}/", "") + "\n"


@pytest.mark.parametrize("file", sorted(BAD.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_wrong_file_says_exactly_what_is_wrong(file: Path) -> None:
    """Every mistake is told at once, with its place, what it is and what to do; the words stand beside the file."""
    assert said(file) == file.with_suffix(".txt").read_text()


@pytest.mark.parametrize("file", sorted(BAD.glob("*.yaml")), ids=lambda file: file.stem)
def test_no_message_shows_a_secret(file: Path) -> None:
    """Whatever is wrong, a secret's value is in no message."""
    text = said(file)
    assert not [secret for secret in SECRETS if secret in text]
