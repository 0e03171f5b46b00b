"""The committed rules, by Prometheus' own tools: they are valid, their tests pass, and their tests would notice a mistake."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "infrastructure/monitoring/prometheus"
RULES = PROMETHEUS / "rules/outrider.yaml"


def rules() -> list[dict[str, Any]]:
    """Every rule of the committed file."""
    return [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def promtool(*arguments: str | Path, cwd: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    """Runs promtool."""
    return subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_says_whom_it_calls_and_what_to_do(rule: dict[str, Any]) -> None:
    """Each rule parses, waits a while, has a severity, a sentence, and a runbook that exists."""
    promql_parser.parse(rule["expr"])
    assert rule["for"]
    assert rule["labels"]["severity"] in ("page", "ticket", "{{ $labels.alert }}")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    fallback = rule["annotations"]["runbook"].replace("{{ end }}", "").split("}}")[-1]
    assert (ROOT / fallback).is_file()


def test_a_rule_reads_only_what_outrider_exports() -> None:
    """Every metric that a rule names is in the catalogue: no alert on a series that nobody writes."""
    catalogue = (ROOT / "tests/runner/sinks/catalogue.txt").read_text(encoding="utf-8")
    families = {line.split(" | ")[0]: line.split(" | ")[2].split(",") for line in catalogue.splitlines()}
    assert {"check", "alert", "runbook", "service", "environment", "location", "target"} <= set(families["probe_check_info"])
    for name in ("probe_success", "probe_unknown", "probe_failure_explained"):
        assert families[name] == ["check", "kind"]


@pytest.mark.monitoring
def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    """promtool finds no fault in either, by its strictest reading."""
    config = promtool("check", "config", "prometheus.yml")
    assert config.returncode == 0, config.stderr
    checked = promtool("check", "rules", "--lint-fatal", "rules/outrider.yaml")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.monitoring
def test_the_rules_fire_when_they_should_and_only_then() -> None:
    """promtool's unit tests of the rules pass."""
    tested = promtool("test", "rules", "tests/outrider.yaml")
    assert tested.returncode == 0, tested.stderr


@pytest.mark.monitoring
@pytest.mark.parametrize(
    ("written", "mistaken"),
    [
        ("(probe_success == 0)", "(probe_success == 1)"),
        ("(probe_failure_explained == 1)", "(probe_failure_explained == 0)"),
        ("unless on (job, instance, check)", "and on (job, instance, check)"),
        ("(probe_success == 0)", "(probe_success < 1 or probe_unknown == 1)"),
        ('{alert!="none"}', ""),
        ("on (job, instance, check)", "on (job, check)"),
        ("for: 1m", "for: 0s"),
        ("for: 1m", "for: 2m"),
        ("for: 5m", "for: 1m"),
        (" or absent", " unless absent"),
        ('up{job="outrider"} == 0', 'up{job="outrider"} > 1'),
        ('severity: "{{ $labels.alert }}"', "severity: page"),
    ],
)
def test_a_mistake_in_a_rule_is_noticed(tmp_path: Path, written: str, mistaken: str) -> None:
    """The unit tests fail for a rule that is wrong: a comparison turned round, the level ignored, two runners mixed up, another wait."""
    for folder in ("rules", "tests"):
        shutil.copytree(PROMETHEUS / folder, tmp_path / folder)
    text = RULES.read_text(encoding="utf-8")
    assert written in text
    (tmp_path / "rules/outrider.yaml").write_text(text.replace(written, mistaken), encoding="utf-8")
    assert promtool("test", "rules", "tests/outrider.yaml", cwd=tmp_path).returncode != 0
