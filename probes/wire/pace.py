"""How many received bytes a reader gets at once: by the time that its work on those before has taken, whatever the protocol is."""

from __future__ import annotations

from collections.abc import Callable

SLICE = 0.0005  # seconds of work after which the loop gets its turn
FIRST = 1024  # bytes that a reader gets at first
LEAST, MOST = 64, 64 * 1024  # bytes that it gets at least, where there are as many, and at most


class Pace:
    """Halves what a reader gets where its work on that took a slice or nearly so, and doubles it where that was little."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._given = 0.0  # when the reader got its latest bytes
        self._turn: float | None = None  # when it last got bytes after a wait; None: it has waited since
        self._full = False  # it got as many bytes as it may
        self.most = FIRST

    def is_over(self) -> bool:
        """Whether a reader that asks for more has worked for a slice without giving the loop back."""
        if self._turn is None:
            return False
        now = self._monotonic()
        if now - self._given > SLICE * 0.75:
            self.most = max(LEAST, self.most // 2)
        elif self._full and now - self._given < SLICE * 0.25:
            self.most = min(MOST, self.most * 2)
        return now - self._turn > SLICE

    def waits(self) -> None:
        """Notes that the reader gives the loop back."""
        self._turn = None

    def gives(self, length: int) -> None:
        """Notes that the reader gets `length` bytes."""
        self._given, self._full = self._monotonic(), length >= self.most
        if self._turn is None:
            self._turn = self._given
