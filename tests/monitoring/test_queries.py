"""The queries of docs/metrics.md, by Prometheus' own tools: two runners of one check are not mixed up."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

DOCUMENT = (Path(__file__).parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^```promql\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
EXPECTED: dict[str, tuple[float | None, float | None]] = {  # by what the query begins with: of runner a and of runner b
    "probe_success *": (1, 0),
    "increase(probe_slo_good": (1, 0.5),
    "sum by (job": (1, 0.5),
    "sort_desc(sum by (check, reason)": (None, None),  # of all runners together; none failed
    "time() - probe_next": (8 * 3600, None),  # thirty days after the start; b's next run is due then
    "probe_ssl_last_chain": (86400, None),
}


def series(name: str, a: str, b: str, labels: str = "") -> list[dict[str, str]]:
    """Of check api, by two runners, a value an hour."""
    return [
        {"series": f'{name}{{job="outrider", instance="{runner}", check="api", kind="http"{labels}}}', "values": values}
        for runner, values in (("a", a), ("b", b))
    ]


DATA = [
    *series("probe_success", "1x720", "0x720"),
    *series("probe_check_info", "1x720", "1x720", ', environment="production", tags="smoke", alert="page"'),
    *series("probe_slo_events_total", "0+120x720", "0+120x720", ', slo="availability"'),
    *series("probe_slo_good_events_total", "0+120x720", "0+60x720", ', slo="availability"'),
    *series("probe_runs_total", "0+100x720", "0+50x720", ', outcome="pass"'),
    *series("probe_runs_total", "0+20x720", "0+10x720", ', outcome="fail"'),
    *series("probe_failures_total", "0x720", "0x720", ', reason="status"'),
    *series("probe_interval_seconds", "30x720", "30x720"),
    *series("probe_timeout_seconds", "5x720", "5x720"),
    *series("probe_next_run_timestamp_seconds", f"{712 * 3600}x720", f"{720 * 3600}x720"),
    *series("probe_ssl_last_chain_expiry_timestamp_seconds", f"{744 * 3600}x720", f"{7200 * 3600}x720"),
]


@pytest.mark.monitoring
@pytest.mark.parametrize("query", QUERIES)
def test_a_query_keeps_two_runners_apart(tmp_path: Path, query: str) -> None:
    """Each gives one result a runner, and none finds two where it joins one."""
    wanted = next(EXPECTED[start] for start in EXPECTED if query.startswith(start))
    samples = [{"labels": f'{{instance="{runner}"}}', "value": n} for runner, n in zip("ab", wanted, strict=True) if n is not None]
    one = {"expr": f"sum by (instance) ({query.strip()})", "eval_time": "720h", "exp_samples": samples}
    suite = {"evaluation_interval": "1h", "tests": [{"interval": "1h", "input_series": DATA, "promql_expr_test": [one]}]}
    (tmp_path / "queries.json").write_text(json.dumps(suite), encoding="utf-8")
    tested = subprocess.run(["promtool", "test", "rules", "queries.json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr
