"""The committed rules, by Prometheus' own tools: they are valid, their tests pass, and their tests would notice a mistake."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "infrastructure/monitoring/prometheus"
RULES = PROMETHEUS / "rules/outrider.yaml"
LEVEL = '{{ if eq $labels.alert "page" }}critical{{ else }}warning{{ end }}'  # the severity of a check's own alert level


def rules() -> list[dict[str, Any]]:
    """Every rule of the committed file."""
    return [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def metrics(expression: object) -> Iterator[str]:
    """The names of the metrics that an expression reads."""
    if isinstance(expression, promql_parser.VectorSelector) and expression.name:
        yield expression.name
    for part in ("lhs", "rhs", "expr", "vector_selector"):
        yield from metrics(inner) if (inner := getattr(expression, part, None)) is not None else ()
    for inner in getattr(expression, "args", ()):
        yield from metrics(inner)


def promtool(*arguments: str | Path, cwd: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    """Runs promtool."""
    return subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_says_whom_it_calls_and_what_to_do(rule: dict[str, Any]) -> None:
    """Each rule parses, waits a while, has a severity, a sentence, and a runbook that exists."""
    promql_parser.parse(rule["expr"])
    assert rule["for"]
    assert rule["labels"]["severity"] in ("critical", "warning", "none", LEVEL)
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    fallback = rule["annotations"]["runbook"].replace("{{ end }}", "").split("}}")[-1]
    assert (ROOT / fallback).is_file()


def test_a_rule_reads_only_what_outrider_exports() -> None:
    """Every metric that a rule names is in the catalogue, with the labels that it is joined by: no alert on what nobody writes."""
    catalogue = (ROOT / "tests/runner/sinks/catalogue.txt").read_text(encoding="utf-8")
    families = {line.split(" | ")[0]: line.split(" | ")[2].split(",") for line in catalogue.splitlines()}
    read = {name for rule in rules() for name in metrics(promql_parser.parse(rule["expr"]))} - {"up", "ALERTS"}
    assert read >= {"probe_success", "probe_unknown", "probe_check_info", "outrider_config_last_reload_successful"}
    assert read - families.keys() == set()
    assert {"check", "alert", "runbook", "service", "environment", "location", "target"} <= set(families["probe_check_info"])
    of_checks = {name for name in read if name.startswith("probe_")} - {"probe_check_info"}
    assert [name for name in of_checks if families[name] != ["check", "kind"]] == []


@pytest.mark.monitoring
def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    """promtool finds no fault in either, by its strictest reading."""
    config = promtool("check", "config", "prometheus.yml")
    assert config.returncode == 0, config.stderr
    checked = promtool("check", "rules", "--lint-fatal", "rules/outrider.yaml")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.monitoring
def test_the_read_token_is_sent_where_the_comment_is_lifted(tmp_path: Path) -> None:
    """What stands commented out for a runner with READ_TOKEN is configuration as it is, of the scrape, with the token from a file."""
    shutil.copytree(PROMETHEUS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "read-token").write_text("a token\n", encoding="utf-8")
    text = (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8").replace("# authorization:", "authorization:")
    lifted = text.replace("/run/secrets/read-token", str(tmp_path / "read-token"))
    (tmp_path / "prometheus.yml").write_text(lifted, encoding="utf-8")
    [job] = yaml.safe_load(lifted)["scrape_configs"]
    assert job["authorization"] == {"type": "Bearer", "credentials_file": str(tmp_path / "read-token")}
    config = promtool("check", "config", "prometheus.yml", cwd=tmp_path)
    assert config.returncode == 0, config.stderr


@pytest.mark.monitoring
def test_the_rules_fire_when_they_should_and_only_then() -> None:
    """promtool's unit tests of the rules pass."""
    tested = promtool("test", "rules", "tests/outrider.yaml")
    assert tested.returncode == 0, tested.stderr


@pytest.mark.monitoring
@pytest.mark.parametrize(
    ("alert", "written", "mistaken"),
    [
        ("CheckDown", "(probe_success == 0)", "(probe_success == 1)"),
        ("CheckDown", "(probe_failure_explained == 1)", "(probe_failure_explained == 0)"),
        ("CheckDown", "unless on (job, instance, check)", "and on (job, instance, check)"),
        ("CheckDown", "(probe_success == 0)", "(probe_success < 1 or probe_unknown == 1)"),
        ("CheckDown", '{alert!="none"}', ""),
        ("CheckDown", "on (job, instance, check)", "on (job, check)"),
        ("CheckDown", "(probe_maintenance == 1)", "(probe_maintenance == 2)"),
        ("CheckDown", 'ALERTS{alertname="CheckDown", alertstate="firing"}', "vector(0)"),
        ("CheckUnknown", "(probe_maintenance == 1)", "(probe_maintenance == 2)"),
        ("CheckStale", "(probe_maintenance == 1)", "(probe_maintenance == 2)"),
        ("CheckMaintenance", "probe_maintenance == 1", "probe_maintenance == 0"),
        ("CheckMaintenance", "severity: none", "severity: critical"),
        ("CheckExplained", "probe_failure_explained == 1", "probe_failure_explained == 0"),
        ("CheckDown", "for: 1m", "for: 0s"),
        ("CheckDown", "for: 1m", "for: 2m"),
        ("CheckDown", f"severity: '{LEVEL}'", "severity: critical"),
        ("CheckDown", '{{ reReplaceAll "/.*" "" $labels.check }}', "{{ $labels.check }}"),
        ("CheckUnknown", '{alert!="none"}', ""),
        ("CheckUnknown", "for: 5m", "for: 1m"),
        ("CheckUnknown", "severity: warning", f"severity: '{LEVEL}'"),
        ("CheckStale", "probe_next_run_timestamp_seconds", "probe_last_run_timestamp_seconds"),
        ("CheckStale", "> 2 * probe_interval_seconds", "> 3 * probe_interval_seconds"),
        ("CheckStale", "> 2 * probe_interval_seconds", "> 1 * probe_interval_seconds"),
        ("CheckStale", "+ probe_timeout_seconds", ""),
        ("CheckStale", "+ 60", ""),
        ("CheckStale", '{alert!="none"}', ""),
        ("CheckStale", "on (job, instance, check)", "on (job, check)"),
        ("CheckStale", "for: 1m", "for: 0s"),
        ("CheckStale", "severity: warning", f"severity: '{LEVEL}'"),
        ("ConfigRefused", "== 0", "== 1"),
        ("ConfigRefused", "for: 5m", "for: 1m"),
        ("RunnerAbsent", " or absent", " unless absent"),
        ("RunnerAbsent", 'up{job="outrider"} == 0', 'up{job="outrider"} > 1'),
    ],
)
def test_a_mistake_in_a_rule_is_noticed(tmp_path: Path, alert: str, written: str, mistaken: str) -> None:
    """The unit tests fail for a rule that is wrong: a comparison turned round, the level ignored, two runners mixed up, another wait."""
    for folder in ("rules", "tests"):
        shutil.copytree(PROMETHEUS / folder, tmp_path / folder)
    before, name, after = RULES.read_text(encoding="utf-8").partition(f"- alert: {alert}\n")
    rule, next_one, rest = after.partition("- alert: ")
    assert written in rule
    mistake = "".join((before, name, rule.replace(written, mistaken), next_one, rest))
    (tmp_path / "rules/outrider.yaml").write_text(mistake, encoding="utf-8")
    assert promtool("test", "rules", "tests/outrider.yaml", cwd=tmp_path).returncode != 0
