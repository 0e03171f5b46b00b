"""Fixtures: what the tests of the kinds use."""

from __future__ import annotations

from tests.support.ca import authority

__all__ = ["authority"]
