"""What a check sends step by step, for others to play: a load plays the same steps as the probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from probes.http.route import HttpRoute
from probes.journeys.steps import Step


@dataclass(frozen=True, slots=True)
class Script:
    """The steps of a check, the headers of every request beside the target's, and how its requests travel.

    `differs` says in words what the steps can't do as the check does ("follows redirects"); then there are no steps.
    """

    steps: tuple[Step, ...]
    headers: Mapping[str, SecretStr]
    route: HttpRoute
    differs: tuple[str, ...] = ()

    def unlike_a_load(self) -> tuple[str, ...]:
        """Why its requests would travel otherwise under load than its probe's: that would measure something else."""
        other = {
            "goes through a proxy": self.route.proxy,
            "logs in by oauth2": self.route.oauth2,
            "connects to an address of its own": self.route.resolve,
            "uses HTTP/2": self.route.http == "2",
            "has framing: strict": self.route.framing == "strict",
            f"requires IPv{self.route.ip}": self.route.ip in ("4", "6"),
        }
        return (*self.differs, *(text for text, so in other.items() if so))
