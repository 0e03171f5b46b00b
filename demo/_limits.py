"""What the application does to whoever asks too much: 1,000 requests an hour, five bad logins, ten stories a day."""

from __future__ import annotations

from collections import Counter, deque

from probes.core import Clock

DAY = 86400.0


class SlidingWindow:
    """At most `most` requests of one key in any `window` seconds; a refused one doesn't count."""

    def __init__(self, clock: Clock, most: int, window: float) -> None:
        self.clock, self.most, self.window = clock, most, window
        self._seen: dict[str, deque[float]] = {}

    def _current(self, key: str) -> deque[float]:
        seen = self._seen.setdefault(key, deque())
        while seen and seen[0] <= self.clock.time() - self.window:
            seen.popleft()
        return seen

    def take(self, key: str) -> bool:
        """Counts one request; False when the window is full."""
        seen = self._current(key)
        if len(seen) >= self.most:
            return False
        seen.append(self.clock.time())
        return True

    def left(self, key: str) -> int:
        """How many more are let through now."""
        return self.most - len(self._current(key))

    def wait(self, key: str) -> float:
        """Seconds until the oldest request of the window leaves it; the whole window where there is none."""
        seen = self._current(key)
        return seen[0] + self.window - self.clock.time() if seen else self.window


class Lockout:
    """After `most` failures of one key within `seconds` it is locked for so long."""

    def __init__(self, clock: Clock, most: int = 5, seconds: float = 1800.0) -> None:
        self.clock, self.most, self.seconds = clock, most, seconds
        self._failures: dict[str, list[float]] = {}

    def _recent(self, key: str) -> list[float]:
        recent = [at for at in self._failures.get(key, []) if at > self.clock.time() - self.seconds]
        self._failures[key] = recent
        return recent

    def locked_for(self, key: str) -> float:
        """Seconds until it is unlocked; 0 when it isn't locked."""
        recent = self._recent(key)
        return recent[-1] + self.seconds - self.clock.time() if len(recent) >= self.most else 0.0

    def failed(self, key: str) -> int:
        """Counts a failure; returns how many attempts are left."""
        recent = self._recent(key)
        recent.append(self.clock.time())
        return self.most - len(recent)

    def forget(self, key: str) -> None:
        """A good login, or an administrator, clears the failures."""
        self._failures.pop(key, None)

    def clear(self) -> None:
        """Unlocks everybody."""
        self._failures.clear()


class Daily:
    """At most `most` of one key in a UTC day."""

    def __init__(self, clock: Clock, most: int) -> None:
        self.clock, self.most = clock, most
        self._used: Counter[tuple[str, int]] = Counter()

    def _today(self, key: str) -> tuple[str, int]:
        return key, int(self.clock.time() // DAY)

    def take(self, key: str) -> bool:
        """Counts one; False when the day's share is used up."""
        today = self._today(key)
        if self._used[today] >= self.most:
            return False
        self._used[today] += 1
        return True

    def used(self, key: str) -> int:
        """How many of today's are used."""
        return self._used[self._today(key)]

    def wait(self) -> float:
        """Seconds until the next UTC day."""
        return DAY - self.clock.time() % DAY
