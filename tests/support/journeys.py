"""Journeys for tests."""

from __future__ import annotations

from typing import Any

import pytest

from probes.core import Failed
from probes.kinds.journey import Journey
from probes.probe import Context


def journey(url: str, *steps: dict[str, Any], **settings: Any) -> Journey:
    """A journey to a target that allows every POST."""
    target = {"name": "api", "url": url, "headers": {"X-Forwarded-Proto": "https"}, "allow": ["POST /*", "DELETE /*"]}
    return Journey.model_validate({"target": target, "steps": list(steps), **settings})


async def failure(probe: Journey, ctx: Context) -> Failed:
    """The failure that a run ends with."""
    with pytest.raises(Failed) as caught:
        await probe.run(ctx)
    return caught.value
