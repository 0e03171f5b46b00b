"""coordinate: how runners share the checks, as checks.yaml says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.cli.validate import summary
from runner.config.plan import Coordinate
from runner.config.read import read_plan


def coordinate(tmp_path: Path, text: str, interval: str = "30s", **environ: str) -> Coordinate | None:
    """What is read."""
    file = tmp_path / "checks.yaml"
    checks = f"checks: {{api: {{kind: tcp, host: localhost, port: 1, interval: {interval}, timeout: 1s}}}}\n"
    file.write_text(f"version: 1\nservice: a\nlocation: eu\n{text}{checks}")
    return read_plan(file, environ=environ).coordinate


def test_the_address_alone_is_enough(tmp_path: Path) -> None:
    """`coordinate: redis://...` is the same as its `url`; the group is made of service, environment and location."""
    short = coordinate(tmp_path, "coordinate: redis://127.0.0.1:6379/0\n")
    assert short == Coordinate("redis://127.0.0.1:6379/0", 10.0, 128, 10000, "a//eu/128", "a/")
    assert coordinate(tmp_path, "coordinate: {url: 'redis://127.0.0.1:6379/0'}\n") == short


def test_without_an_address_nothing_is_shared(tmp_path: Path) -> None:
    """An empty variable turns it off."""
    assert coordinate(tmp_path, "coordinate: ${LEASES:-}\n") is None
    assert coordinate(tmp_path, "") is None


@pytest.mark.parametrize(("interval", "lasts"), [("1s", 1.0), ("6s", 2.0), ("30s", 10.0), ("1h", 10.0)])
def test_a_lease_fits_the_shortest_interval(tmp_path: Path, interval: str, lasts: float) -> None:
    """A third of it, between one and ten seconds; checks.yaml may say otherwise."""
    found = coordinate(tmp_path, "coordinate: redis://localhost\n", interval)
    assert found
    assert found.lasts == lasts
    found = coordinate(tmp_path, "coordinate: {url: 'redis://localhost', lasts: 700ms, slots: 64, most: 5}\n", interval)
    assert found
    assert (found.lasts, found.slots, found.most) == (0.7, 64, 5)


def test_its_password_is_a_secret(tmp_path: Path) -> None:
    """It is redacted everywhere, and the plan doesn't show it."""
    file = tmp_path / "checks.yaml"
    file.write_text("version: 1\ncoordinate: ${LEASES}\nchecks: {api: {kind: tcp, host: localhost, port: 1}}\n")
    plan = read_plan(file, environ={"LEASES": "redis://me:hunter2-and-more@localhost/0"})
    assert "hunter2-and-more" in plan.secrets
    assert "hunter2" not in repr(plan.coordinate)


def test_validate_says_what_follows(tmp_path: Path) -> None:
    """How soon a dead runner's checks run again, and how many checks one runner takes."""
    file = tmp_path / "checks.yaml"
    file.write_text("version: 1\ncoordinate: redis://localhost\nchecks: {api: {kind: tcp, host: localhost, port: 1}}\n")
    told = [line for line in summary(read_plan(file, environ={})) if line.startswith("coordinate")]
    assert told == [
        "coordinate: leases of 10s on 128 slots: others take a dead runner's checks over within 25s",
        "coordinate: one runner takes 10,000 checks at most; all runners together keep each limit and budget",
    ]
