"""The values that a run generates for `{{uuid}}`, `{{now}}`, `{{in 7d}}` and `{{ago 1h}}`: the same wherever they stand in one run."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from probes.expect.template import TOTP, is_generated
from probes.fields import seconds

_LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_WRITTEN: dict[str, Callable[[datetime], str | int]] = {
    "": lambda moment: moment.replace(microsecond=0, tzinfo=None).isoformat() + "Z",
    "date": lambda moment: moment.date().isoformat(),
    "time": lambda moment: moment.strftime("%H:%M:%S"),
    "unix": lambda moment: int(moment.timestamp()),
    "unix_ms": lambda moment: int(moment.timestamp() * 1000),
}


class Values(Mapping[str, Any]):
    """A run's variables: what was captured, and beside it what is generated. All moments count from `now` (seconds since the epoch).

    `totp` makes the one-time password of the moment, each time that it is asked for.
    Moments are texts in UTC by ISO 8601; `unix` and `unix_ms` are numbers, whole seconds and milliseconds since the epoch.
    """

    def __init__(self, now: float, rng: random.Random, *, totp: Callable[[], str] = str) -> None:
        self.now = now
        self._now = datetime.fromtimestamp(now, UTC)
        self._rng = rng
        self._totp = totp
        self._known: dict[str, Any] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        self._known[name] = value

    def __getitem__(self, name: str) -> Any:
        if name == TOTP and name not in self._known:
            return self._totp()
        if name not in self._known and is_generated(name):
            self._known[name] = self._generate(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def _generate(self, name: str) -> str | int:
        """The value of a generated variable. A moment before year 1 or after 9999 is the first or the last that there is."""
        word, *rest = name.split()
        if word == "uuid":
            return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        moment = self._now
        if word != "now":
            length = seconds(rest.pop(0))
            try:
                moment += timedelta(seconds=length if word == "in" else -length)
            except OverflowError:
                moment = _LATEST if word == "in" else _FIRST
        return _WRITTEN[rest[0] if rest else ""](moment)
