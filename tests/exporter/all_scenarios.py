"""Every scenario, in one table."""

from __future__ import annotations

from tests.exporter import dns_scenarios, http_scenarios, other_scenarios, tcp_scenarios
from tests.exporter.scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = (
    *http_scenarios.SCENARIOS,
    *tcp_scenarios.SCENARIOS,
    *dns_scenarios.SCENARIOS,
    *other_scenarios.SCENARIOS,
)
WRITTEN = tuple(each for each in SCENARIOS if not each.cannot)  # those that a check of ours says
ASKED = tuple(each for each in WRITTEN if not each.unasked)  # those of which the installed exporter is asked, too
