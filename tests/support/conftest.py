"""Fixtures: what the tests of tests/support use."""

from __future__ import annotations

from tests.support.ca import authority

__all__ = ["authority"]
