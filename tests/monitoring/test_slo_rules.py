"""The rendered rules for SLOs, by Prometheus' own tools: they are valid, their tests pass and notice mistakes, their ratios are exact."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from judge.observation import Slo
from runner.render.slo_rule_tests import FAST, ORDER, slo_rule_tests
from runner.render.slo_rules import slo_rules
from tests.monitoring.test_rules import PROMETHEUS, ROOT, metrics, promtool

DAY = 86400.0
RULES = PROMETHEUS / "rules/slo.yaml"
ONE = [Slo("availability", Decimal("0.999"), 30 * DAY)]
SOME = [*ONE, Slo("p90", Decimal("0.9"), 7 * DAY, 0.5), Slo("loose", Decimal("0.5"), DAY)]
LABELS = 'job="outrider", instance="outrider:9797", check="api", kind="http"'


def groups(text: str) -> list[dict[str, Any]]:
    """The groups of a file of rules."""
    found: list[dict[str, Any]] = yaml.safe_load(text)["groups"]
    return found


def run(folder: Path, rules: str, *tests: str) -> subprocess.CompletedProcess[str]:
    """promtool on these rules and files of tests."""
    for below in ("rules", "tests"):
        (folder / below).mkdir(exist_ok=True)
    (folder / "rules/slo.yaml").write_text(rules, encoding="utf-8")
    names = [f"{number}.yaml" for number, _ in enumerate(tests)]
    for name, text in zip(names, tests, strict=True):
        (folder / "tests" / name).write_text(text, encoding="utf-8")
    return promtool("test", "rules", *names, cwd=folder / "tests")


def suite(series: Iterable[tuple[str, str]], tests: Mapping[str, Any]) -> str:
    """A file of tests on these series (name and values every 15 s), for promtool."""
    inputs = [{"series": name, "values": values} for name, values in series]
    one = {"interval": f"{FAST}s", "input_series": inputs, **tests}
    body = {"rule_files": ["../rules/slo.yaml"], "evaluation_interval": f"{FAST}s", "group_eval_order": ORDER, "tests": [one]}
    return json.dumps(body)


def test_the_rules_read_only_what_exists() -> None:
    """Each metric is one that Outrider exports or that a rule of the file records, and each expression parses."""
    catalogue = (ROOT / "tests/runner/sinks/catalogue.txt").read_text(encoding="utf-8")
    exported = {line.split(" | ")[0] for line in catalogue.splitlines()}
    rules = [rule for group in groups(RULES.read_text(encoding="utf-8")) for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    read = {name for rule in rules for name in metrics(promql_parser.parse(rule["expr"]))}
    assert {"probe_slo_events_total", "probe_check_info", "check_slo:probe_slo_errors_per_event:ratio5m"} <= read
    assert read - exported - recorded == {"ALERTS"}  # Prometheus' own


def test_each_alert_says_what_to_do() -> None:
    """A severity that routes know, the SLO, its windows, and a runbook that exists."""
    alerts = [
        rule for group in groups(RULES.read_text(encoding="utf-8")) for rule in group["rules"] if rule.get("alert") == "ErrorBudgetBurn"
    ]
    assert {rule["labels"]["severity"] for rule in alerts} == {"critical", "warning"}
    for rule in alerts:
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert (ROOT / "docs/runbooks/error-budget-burn.md").is_file()
        assert re.fullmatch(r"\d+[mhd]/\d+[mhd](,\d+[mhd]/\d+[mhd])*", rule["labels"]["windows"])


@pytest.mark.monitoring
@pytest.mark.parametrize("slos", [SOME, []], ids=["three SLOs", "none"])
def test_prometheus_takes_the_rules_of_any_slos(tmp_path: Path, slos: list[Slo]) -> None:
    """Whatever objective and period, and without any SLO: promtool's strictest reading finds no fault."""
    (tmp_path / "slo.yaml").write_text(slo_rules(slos), encoding="utf-8")
    checked = promtool("check", "rules", "--lint-fatal", "slo.yaml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.monitoring
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", ["slo-pages.yaml", "slo-tickets.yaml"])
def test_the_committed_tests_pass(name: str) -> None:
    """promtool's unit tests of the committed rules: fires, isn't fooled by a blip or a young series, and ends."""
    tested = promtool("test", "rules", name, cwd=PROMETHEUS / "tests")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.monitoring
@pytest.mark.timeout(1500)
def test_the_tests_of_other_slos_pass(tmp_path: Path) -> None:
    """A week and a day as periods, a loose objective: what can never fire has no rule, and what can fires."""
    tested = run(tmp_path, slo_rules(SOME[1:]), slo_rule_tests(SOME[1:], step=FAST))
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.monitoring
@pytest.mark.parametrize(
    ("written", "mistaken"),
    [
        ("ratio5m{", "ratio1h{"),
        (">= 3", ">= 5"),
        ("51.84 /", "40 /"),
        ('alert="page"', 'alert!="none"'),
        ("severity: critical", "severity: warning"),
        ("for: 2m", "for: 1m"),
        ("<= 75", "<= 14"),
        ("bad_events:increase1h", "events:increase1h"),
    ],
)
def test_a_mistake_in_a_rule_is_noticed(tmp_path: Path, written: str, mistaken: str) -> None:
    """The rendered tests fail for rules that are wrong."""
    rules = slo_rules(ONE)
    head, mark, alerts = rules.partition("  - name: slo-alerts")
    assert written in alerts
    tests = slo_rule_tests(ONE, step=FAST)
    assert run(tmp_path, head + mark + alerts.replace(written, mistaken), tests).returncode != 0


@pytest.mark.monitoring
def test_what_the_person_on_call_reads(tmp_path: Path) -> None:
    """The reasons of the last hour, the share, the command and the runbook; a part is named by the command of its check."""
    labels = LABELS.replace('"api"', '"api-report/db"')
    series = [
        (f'probe_slo_events_total{{{labels}, slo="availability"}}', "0+1x300"),
        (f'probe_slo_good_events_total{{{labels}, slo="availability"}}', "0+1x260 260x39"),
        (f'probe_failures_total{{{labels}, reason="timeout"}}', "0x260 1+1x38"),
        (f'probe_failures_total{{{labels}, reason="status"}}', "0x300"),
        (f"probe_interval_seconds{{{labels}}}", "15x300"),
        (f'probe_check_info{{{labels}, alert="page", service="roadtrip", tags="api,security"}}', "1x300"),
    ]
    expected = {
        "exp_labels": {
            "severity": "critical", "slo": "availability", "windows": "1h/5m,6h/30m", "job": "outrider", "check": "api-report/db",
            "kind": "http", "alert": "page", "service": "security", "tags": "api,security",
        },
        "exp_annotations": {
            "summary": "api-report/db uses up its error budget of availability too fast",
            "description": "16.67% of the latest runs of check api-report/db (kind http) were bad for the SLO availability, which allows "
            "0.1% in 30d. Reasons of failures in the last hour: timeout. To run the check once more on the runner's machine: "
            "outrider probe api-report",
            "runbook_url": "docs/runbooks/error-budget-burn.md",
        },
    }  # fmt: skip
    tests = {"alert_rule_test": [{"eval_time": "75m", "alertname": "ErrorBudgetBurn", "exp_alerts": [expected]}]}
    rules = slo_rules(ONE).replace('alert!="none"', 'alert="nobody"')  # the ticket beside it is not what is read here
    tested = run(tmp_path, rules, suite(series, tests))
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.monitoring
def test_the_share_is_that_of_the_raw_runs(tmp_path: Path) -> None:
    """To 1e-9: the share of bad runs in an hour by Prometheus is that counted from the runs, for random failures after the first scrape."""
    chance = random.Random(7)  # noqa: S311 - data of a test
    bad = [chance.random() < 0.004 for _ in range(960)]  # every 15 s, four hours
    events, good = list(range(961)), [0, *accumulate(int(not one) for one in bad)]
    texts = [" ".join(map(str, values)) for values in (events, good)]
    names = [f'{name}{{{LABELS}, slo="availability"}}' for name in ("probe_slo_events_total", "probe_slo_good_events_total")]
    share = sum(bad[-240:]) / 240
    same = 'abs(check_slo:probe_slo_errors_per_event:ratio1h{check="api"} - %s) < bool 1e-9'
    tests = {
        "promql_expr_test": [
            {"expr": f"sum({same % repr(value)})", "eval_time": "4h", "exp_samples": [{"labels": "{}", "value": expected}]}
            for value, expected in ((share, 1), (share + 2e-9, 0))
        ]
    }
    tested = run(tmp_path, slo_rules(ONE), suite(zip(names, texts, strict=True), tests))
    assert tested.returncode == 0, tested.stdout + tested.stderr
