from __future__ import annotations

from tests.support.context import wire

__all__ = ["wire"]
