"""Plays the steps of a journey without I/O and without a clock: a generator that yields requests and is sent responses.

asyncio drives it in probes/kinds/journey.py, gevent in loadtests: both play the same journey.

    play = Play(steps, locate=..., headers=..., values=...)
    moves = play.steps()
    sending = next(moves)
    while True:
        ...wait sending.wait seconds...
        response = ...send sending.request...    # with sending.step.redirects; after an error moves.throw(Failed(...)) adds the step's name
        sending = moves.send(response)           # raises StopIteration when all steps have passed, else Failed
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from probes.core import Failed, Reason
from probes.expect.generated import Values
from probes.expect.template import as_text, whole_variable
from probes.http.message import Request, Response
from probes.journeys.capture import leaves
from probes.journeys.steps import Step
from probes.target import origin, origin_text


@dataclass(frozen=True, slots=True)
class Sending:
    """A request to send after `wait` seconds, and the step that it belongs to.

    `unmet` says in what the response before differs from what the step waits for; "" for the first request of a step.
    """

    step: Step
    request: Request
    wait: float = 0.0
    unmet: str = ""


Moves = Generator[Sending, Response, None]


def following(moves: Moves, response: Response) -> Sending | None:
    """What is sent after this response; None where all steps have passed. Raises Failed where it is not as expected."""
    try:
        return moves.send(response)
    except StopIteration:
        return None


class Play:
    """One run of a journey: its variables, and the seconds that each step took.

    `locate` makes a path (with its query) an absolute URL; `headers` are sent with every request but those to a step's own target;
    `values` has what the run generates, and gets what it captures; `conceal` is called with each captured value that no output may show.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        locate: Callable[[str], str],
        values: Values,
        headers: Mapping[str, str] | None = None,
        conceal: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._steps = tuple(steps)
        self._locate = locate
        self._headers = dict(headers or {})
        self._conceal = conceal
        self._values = values
        self._captures = frozenset(name for step in self._steps for name in step.capture)
        self._came_from: dict[str, str] = {}  # by captured value, the address of its response
        self.seconds: dict[str, float] = {}  # by step, whatever its verdict: of its requests and of the time between them

    def steps(self) -> Moves:
        """The steps in their order, without those that are `always`. Raises Failed at the first response that is not as expected."""
        return self._moves(step for step in self._steps if not step.always)

    def cleanup(self) -> Moves:
        """The steps that are `always`, without those that need a value that was never captured."""
        return self._moves(step for step in self._steps if self._can_clean_up(step))

    def cleanups(self) -> Iterator[Moves]:
        """The same steps one by one: one that fails holds up none of the others."""
        for step in self._steps:
            if self._can_clean_up(step):
                yield self._moves([step])

    def _can_clean_up(self, step: Step) -> bool:
        return step.always and step.uses() & self._captures <= self._values.keys()

    def address(self, step: Step) -> str:
        """Where a step's request goes, with its variables as they are written."""
        return self._below(step, step.path)

    def _below(self, step: Step, path: str) -> str:
        return step.target.url.rstrip("/") + path if step.target else self._locate(path)

    def _moves(self, steps: Iterable[Step]) -> Moves:
        for step in steps:
            try:
                self._capture(step, (yield from self._until_met(step)))
            except Failed as failed:
                raise Failed(failed.reason, f"{step.name}: {failed.message}") from failed

    def _until_met(self, step: Step) -> Generator[Sending, Response, Response]:
        """Yields the step's request until a response meets `until`, and returns that one; each must be as expected."""
        request, number, unmet = self._request(step), 0, ""
        while True:
            number, wait = number + 1, step.wait_between if number else step.wait_before
            response = yield Sending(step, request, wait, unmet)
            self.seconds[step.name] = response.seconds + (self.seconds[step.name] + wait if number > 1 else 0.0)
            self._judge(step, response)
            if step.until is None:
                return response
            try:
                step.until.at(self._values.now).filled(self._values).judge(response)
            except Failed as failed:
                if number == step.most_requests:
                    raise Failed(failed.reason, f"{failed.message}, also after {number} requests") from failed
                unmet = failed.message
            else:
                return response

    def _request(self, step: Step) -> Request:
        kind, body = step.filled_body(self._values)
        typed = {"Content-Type": kind} if kind else {}
        common = {name: value.get_secret_value() for name, value in step.target.headers.items()} if step.target else self._headers
        path = step.filled_path(self._values)
        url = self._captured_address(step, path) if step.leads_anywhere else self._below(step, path)
        return Request(step.method, url, typed | common | step.filled_headers(self._values), body)

    def _captured_address(self, step: Step, found: str) -> str:
        """A captured address, relative to that of the response that it is from. Raises Failed(redirect) for another origin's.

        Headers that were written for one origin go to no other, whatever a response says.
        """
        name, here = whole_variable(step.path), self._below(step, "/")
        try:
            url = urljoin(self._came_from[name], found)
            elsewhere, user = origin(url) != origin(here), urlsplit(url).username
        except ValueError:
            raise Failed(Reason.REDIRECT, f"the captured {name} is no address") from None
        if elsewhere or user is not None:
            to = "has a user and a password" if not elsewhere else f"leads to {origin_text(url)}, and this step goes to {origin_text(here)}"
            raise Failed(Reason.REDIRECT, f"the captured {name} {to}")
        return url

    def _judge(self, step: Step, response: Response) -> None:
        try:
            step.expect.at(self._values.now).filled(self._values).judge(response)
        except Failed:
            with suppress(Failed):  # a login that was only too slow has opened a session, and the clean-up must be able to close it
                self._capture(step, response)
            raise

    def _capture(self, step: Step, response: Response) -> None:
        for name, capture in step.capture.items():
            value = capture.take(name, response)
            if capture.secret and not isinstance(value, bool):
                self._conceal(as_text(value))
                if isinstance(value, dict | list):
                    for leaf in leaves(value):
                        if isinstance(leaf, str) and leaf:
                            self._conceal(leaf)
            self._values[name], self._came_from[name] = value, response.url
