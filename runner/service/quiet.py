"""Keeps the garbage collector's pauses out of what is measured."""

from __future__ import annotations

import gc


def settle() -> None:
    """Call it once when all is built: what exists by then is never walked through again.

    A full collection of what the imports alone leave stalls the loop for some 50 ms, and every run under way with it; after
    this one only walks through what has been made since.
    """
    gc.collect()
    gc.freeze()
