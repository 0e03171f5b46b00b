"""The garbage collector of a runner that lives for months."""

from __future__ import annotations

import gc


def freeze_garbage_collector() -> None:
    """Call it once when everything is built: the garbage collector never walks through it again.

    A full collection of what the imports alone leave stalls the loop for some 50 ms, and every run under way with it. After this call
    a collection only walks through what was made since.
    """
    gc.collect()
    gc.freeze()
