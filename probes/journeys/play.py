"""Plays the steps of a journey without I/O and without a clock: requests come out, answers go in.

asyncio drives it in probes/kinds/journey.py, gevent in loadtests: both play the very same journey.

    play = Play(steps, locate=..., headers=...)
    moves = play.steps()
    sending = next(moves)
    while True:
        answer = ...send sending.request...      # what goes wrong in sending: moves.throw(Failed(...)) names the step
        sending = moves.send(answer)             # StopIteration: passed; Failed: not
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from probes.core import Failed
from probes.expect.template import as_text
from probes.http.message import Request, Response
from probes.journeys.steps import Step


@dataclass(frozen=True, slots=True)
class Sending:
    """A request that a journey wants sent, and the step that it belongs to."""

    step: Step
    request: Request


Moves = Generator[Sending, Response, None]


class Play:
    """One playing of a journey: its variables, and the seconds that each step took.

    `locate` makes a path (with its query) an absolute URL; `headers` go with every request; `conceal` is told each
    captured value that must not show.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        locate: Callable[[str], str],
        headers: Mapping[str, str] | None = None,
        conceal: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._steps = tuple(steps)
        self._locate = locate
        self._headers = dict(headers or {})
        self._conceal = conceal
        self._values: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}  # by step, whatever its verdict

    def steps(self) -> Moves:
        """The steps in their order, but for those that are `always`. Raises Failed as soon as one is not as expected."""
        return self._moves(step for step in self._steps if not step.always)

    def leaving(self) -> Moves:
        """The steps that are `always`; one that needs what was never captured is left out."""
        return self._moves(step for step in self._steps if step.always and step.uses() <= self._values.keys())

    def _moves(self, steps: Iterable[Step]) -> Moves:
        for step in steps:
            try:
                answer = yield Sending(step, self._request(step))
                self.seconds[step.name] = answer.seconds
                self._judge(step, answer)
                self._capture(step, answer)
            except Failed as failed:
                raise Failed(failed.reason, f"{step.name}: {failed.message}") from failed

    def _request(self, step: Step) -> Request:
        kind, body = step.filled_body(self._values)
        typed = {"Content-Type": kind} if kind else {}
        headers = typed | self._headers | step.filled_headers(self._values)
        return Request(step.method, self._locate(step.filled_path(self._values)), headers, body)

    def _judge(self, step: Step, answer: Response) -> None:
        try:
            step.expect.judge(answer)
        except Failed:
            with suppress(Failed):  # a login that was merely slow has opened a session, which is to be left in order
                self._capture(step, answer)
            raise

    def _capture(self, step: Step, answer: Response) -> None:
        for name, capture in step.capture.items():
            value = capture.take(name, answer)
            if capture.secret and not isinstance(value, bool):
                self._conceal(as_text(value))
            self._values[name] = value
