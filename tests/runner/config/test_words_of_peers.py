"""Words that users bring from other tools lead to the setting here."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes import discover
from runner.config.errors import PlanError
from runner.config.read import read_plan

HTTP = "checks: {c: {kind: http, url: 'http://h/', %s}}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HTTP % "expect: {body: ok}", "checks.c.expect.body: no such setting of expect; write text"),
        (HTTP % "expect: {max_latency: 1s}", "checks.c.expect.max_latency: no such setting of expect; write within"),
        (HTTP % "max_latency: 1s", "checks.c.max_latency: no such setting of kind http; write within under expect"),
        (HTTP % "expect: {valid_status_codes: [200]}", "no such setting of expect; write status"),
        (HTTP % "expect: {fail_if_body_not_matches_regexp: [a]}", "no such setting of expect; write regex"),
        (HTTP % "retries: 2", "checks.c.retries: no such setting of kind http; write confirm"),
        (HTTP % "failure-threshold: 2", "no such setting of kind http; write confirm"),
        (HTTP % "conditions: [a]", "no such setting of kind http; write expect"),
        (HTTP % "preferred_ip_protocol: ip4", "no such setting of kind http; write ip"),
        (HTTP % "intervall: 5s", "no such setting of kind http; did you mean interval?"),
        ("endpoints: []\n" + HTTP % "tags: [a]", "endpoints: no such setting of checks.yaml; write checks"),
        ("checks: {c: {kind: ping}}", f"checks.c.kind: no such kind: ping (there are {', '.join(sorted(discover()))})"),
        ("checks: {c: {kind: ping}}", "websocket); write icmp"),
        ("checks: {c: {kind: wss}}", "websocket); write websocket"),
        ("checks: {c: {kind: Certificate}}", "websocket); write tls"),
        ("checks: {c: {kind: https}}", f"no such kind: https; did you mean http? (there are {', '.join(sorted(discover()))})"),
    ],
)
def test_a_word_of_another_tool_leads_to_the_setting(text: str, said: str, tmp_path: Path) -> None:
    """U23: blackbox_exporter's, Gatus' and Kuma's words; an unknown kind shows the nearest and all."""
    file = tmp_path / "checks.yaml"
    file.write_text(f"version: 1\n{text}\n")
    with pytest.raises(PlanError) as error:
        read_plan(file, environ={})
    assert said in str(error.value)
