"""How much of a run is kept: pure. A target that sends much must not fill our memory, journal or page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MESSAGE = 500  # characters
TEXT = 4096  # characters of one text
ITEMS = 64  # of one list or mapping
DEPTH = 6
WHOLE = 32 * 1024  # characters of all texts of one run's evidence together


def short(text: str, most: int = MESSAGE) -> str:
    """The text, cut where it is longer than `most`, which the end then says."""
    if len(text) <= most:
        return text
    ending = f"… ({len(text):,} characters)"
    return text[: max(0, most - len(ending))] + ending


class Bounded:
    """Cuts one run's evidence to size: each text, each list, the depth, and all of it together."""

    def __init__(self, whole: int = WHOLE) -> None:
        self._left = whole

    def tree(self, value: Any, depth: int = 0) -> Any:
        """The same shape, as much of it as may stay; of what is left out the place says so."""
        if isinstance(value, str):
            kept = short(value, min(TEXT, max(32, self._left)))
            self._left -= len(kept)
            return kept
        if not isinstance(value, Mapping | list):
            return value
        if depth == DEPTH or self._left <= 0:
            return f"… ({len(value)} more)"
        if isinstance(value, list):
            rest = [f"… ({len(value) - ITEMS} more)"] if len(value) > ITEMS else []
            return [self.tree(item, depth + 1) for item in value[:ITEMS]] + rest
        kept_keys = list(value)[:ITEMS]
        more = {"…": f"{len(value) - ITEMS} more"} if len(value) > ITEMS else {}
        return {short(str(key), 200): self.tree(value[key], depth + 1) for key in kept_keys} | more
