"""What the tests of the engine share."""

from __future__ import annotations

from tests.support.ca import authority

__all__ = ["authority"]
