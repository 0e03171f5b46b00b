"""What a check sends step by step, for others to play: a load plays the same steps as the probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from probes.http.route import HttpRoute
from probes.journeys.steps import Step


@dataclass(frozen=True, slots=True)
class Script:
    """The steps of a check, the headers of every request beside the target's, and how its requests travel."""

    steps: tuple[Step, ...]
    headers: Mapping[str, SecretStr]
    route: HttpRoute
