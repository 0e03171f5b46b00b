"""Plays the steps of a journey without I/O and without a clock: a generator that yields requests and is sent responses.

asyncio drives it in probes/kinds/journey.py, gevent in loadtests: both play the same journey.

    play = Play(steps, locate=..., headers=...)
    moves = play.steps()
    sending = next(moves)
    while True:
        response = ...send sending.request...    # after an error in sending, moves.throw(Failed(...)) adds the step's name
        sending = moves.send(response)           # raises StopIteration when all steps have passed, else Failed
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from probes.core import Failed
from probes.expect.template import as_text
from probes.http.message import Request, Response
from probes.journeys.steps import Step


@dataclass(frozen=True, slots=True)
class Sending:
    """A request to send, and the step that it belongs to."""

    step: Step
    request: Request


Moves = Generator[Sending, Response, None]


def following(moves: Moves, response: Response) -> Sending | None:
    """What is sent after this response; None where all steps have passed. Raises Failed where it is not as expected."""
    try:
        return moves.send(response)
    except StopIteration:
        return None


class Play:
    """One run of a journey: its variables, and the seconds that each step took.

    `locate` makes a path (with its query) an absolute URL; `headers` are sent with every request; `conceal` is called with
    each captured value that no output may show.
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
        """The steps in their order, without those that are `always`. Raises Failed at the first response that is not as expected."""
        return self._moves(step for step in self._steps if not step.always)

    def cleanup(self) -> Moves:
        """The steps that are `always`, without those that need a value that was never captured."""
        return self._moves(step for step in self._steps if step.always and step.uses() <= self._values.keys())

    def cleanups(self) -> Iterator[Moves]:
        """The same steps one by one: one that fails holds up none of the others."""
        for step in self._steps:
            if step.always and step.uses() <= self._values.keys():
                yield self._moves([step])

    def _moves(self, steps: Iterable[Step]) -> Moves:
        for step in steps:
            try:
                response = yield Sending(step, self._request(step))
                self.seconds[step.name] = response.seconds
                self._judge(step, response)
                self._capture(step, response)
            except Failed as failed:
                raise Failed(failed.reason, f"{step.name}: {failed.message}") from failed

    def _request(self, step: Step) -> Request:
        kind, body = step.filled_body(self._values)
        typed = {"Content-Type": kind} if kind else {}
        headers = typed | self._headers | step.filled_headers(self._values)
        return Request(step.method, self._locate(step.filled_path(self._values)), headers, body)

    def _judge(self, step: Step, response: Response) -> None:
        try:
            step.expect.filled(self._values).judge(response)
        except Failed:
            with suppress(Failed):  # a login that was only too slow has opened a session, and the clean-up must be able to close it
                self._capture(step, response)
            raise

    def _capture(self, step: Step, response: Response) -> None:
        for name, capture in step.capture.items():
            value = capture.take(name, response)
            if capture.secret and not isinstance(value, bool):
                self._conceal(as_text(value))
            self._values[name] = value
