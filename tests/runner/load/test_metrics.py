"""A load's metrics while it runs."""

from __future__ import annotations

import subprocess
import urllib.request
from dataclasses import replace

import pytest

from runner.load.metrics import FAMILIES, LoadMetrics, address, serving
from tests.runner.load.test_view import NOW


def metrics() -> LoadMetrics:
    """Of a run of roadtrip."""
    return LoadMetrics(scenario="roadtrip", target="api", shape="constant", arrivals="poisson")


def scraped(port: int) -> str:
    """What Prometheus would read."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text: bytes = answer.read()
    return text.decode()


def test_they_are_those_that_are_promised() -> None:
    """Each family by its name, in order; and nothing of this process's own."""
    kept = metrics()
    with serving(kept, "127.0.0.1", 0) as port:
        kept.show(replace(NOW, due=2100, begun=2095))
        text = scraped(port)

    assert [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")] == list(FAMILIES)
    assert 'outrider_load_info{arrivals="poisson",scenario="roadtrip",shape="constant",target="api"} 1.0' in text
    assert "outrider_load_arrivals_due_total 2100.0" in text
    assert 'outrider_load_slo_budget_used_ratio{slo="p95",subject="browse/me"} 0.43' in text


def test_before_the_first_snapshot_there_is_only_what_is_known() -> None:
    """No figure is made up."""
    with serving(metrics(), "127.0.0.1", 0) as port:
        text = scraped(port)
    assert [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")] == ["outrider_load_info"]


@pytest.mark.monitoring
def test_promtool_finds_no_fault() -> None:
    """Names, units and types are as Prometheus has them."""
    kept = metrics()
    with serving(kept, "127.0.0.1", 0) as port:
        kept.show(NOW)
        text = scraped(port)
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.slow
def test_the_port_is_free_again() -> None:
    """At the end nothing listens any more; and a port that is taken is an error of the system's own."""
    with serving(metrics(), "127.0.0.1", 0) as port, pytest.raises(OSError, match="in use"), serving(metrics(), "127.0.0.1", port):
        pass
    with serving(metrics(), "127.0.0.1", port):
        pass


@pytest.mark.parametrize(("text", "found"), [("9798", ("127.0.0.1", 9798)), ("0.0.0.0:9798", ("0.0.0.0", 9798)), ("[::1]:0", ("::1", 0))])
def test_where_they_are_served(text: str, found: tuple[str, int]) -> None:
    """Loopback, unless more is said."""
    assert address(text) == found


@pytest.mark.parametrize("text", ["", "host", "host:", "1:99999", "-1"])
def test_what_is_no_address(text: str) -> None:
    """It is said before anything is sent."""
    with pytest.raises(ValueError, match=r"is not an address; write a port, or host:port$"):
        address(text)
