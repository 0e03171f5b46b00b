"""Makes the observations of a run: redacted and bounded, and made nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from judge.observation import Check, Observation
from judge.redact import Redactor
from probes.core import Reason, Result, Verdict
from probes.probe import Context
from runner.config.plan import Planned

# A target that sends much must not fill the runner's memory, journal or page.
MESSAGE = 500  # characters
TEXT = 4096  # characters of one text
ITEMS = 64  # of one list or mapping
DEPTH = 6
_SCALARS = frozenset((str, int, float, bool, type(None)))
WHOLE = 32 * 1024  # characters of all texts of one run's evidence together


def observations(
    planned: Planned, ctx: Context, result: Result, redact: Redactor, *, at: float, seconds: float, lag: float
) -> tuple[Observation, ...]:
    """The check's observation, then those of its parts. `at` in seconds since the epoch; `seconds` until the verdict."""
    evidence = ctx.evidence
    if "request" in evidence:  # the traceparent that was sent with it finds the run in the target's own traces
        evidence = {**evidence, "traceparent": ctx.sender.headers()["traceparent"]}
    is_late = result.verdict is Verdict.PASS and not ctx.secrets and _is_plain(evidence)
    observation = Observation(
        check=planned.check,
        verdict=result.verdict,
        reason=result.reason,
        message=_redacted(redact, result.message),
        at=at,
        seconds=seconds,
        phases=ctx.phases,
        facts={name: _redacted(redact, value) if isinstance(value, str) else value for name, value in ctx.facts.items()},
        evidence=Unread(evidence, redact) if is_late else Bounded().tree(redact.tree(evidence)),
        spans=tuple(ctx.spans),
        trace_id=ctx.sender.trace_id,
        request_id=ctx.sender.request_id,
        lag=lag,
        responded=_responded(ctx),
        halted_in=ctx.halted_in,
    )
    return (observation, *(_part(part, result, observation, redact) for part in planned.parts))


def _is_plain(value: object) -> bool:
    """Whether a value is what JSON has, so that it can be read later as well as now."""
    if isinstance(value, dict):
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    return all(map(_is_plain, value)) if isinstance(value, list) else type(value) in _SCALARS


def _responded(ctx: Context) -> bool:
    """Whether the target had sent anything: a phase on its connection had ended, a line had come, or the kind says so itself."""
    if "silence" in ctx.evidence:  # of the kinds that know it
        return False
    names = [span.name for span in ctx.spans if span.name != "token"]
    return "connect" in names and (len(names) - names.index("connect") > 2 or bool(ctx.evidence.get("received")))  # noqa: PLR2004 - one is under way


def _part(part: Check, result: Result, observation: Observation, redact: Redactor) -> Observation:
    """A part has its run's time and evidence. Its verdict is its own, or the run's if the run ended before the part was known."""
    own = result.parts.get(part.name.removeprefix(f"{observation.check.name}/"))
    if own is None:
        missing = Result(Verdict.UNKNOWN, Reason.INTERNAL, f"the probe (kind {part.kind}) reported nothing about this part")
        own = missing if result.verdict is Verdict.PASS else result
    return replace(observation, check=part, verdict=own.verdict, reason=own.reason, message=_redacted(redact, own.message), facts={})


def unreported(planned: Planned, result: Result | None, error: BaseException, *, at: float, seconds: float) -> tuple[Observation, ...]:
    """The observations of a run whose own can't be made, because the runner broke: a failure stays one, and all else is unknown.

    `error` is what broke. Its text may hold a secret, so only its type is shown.
    """
    why = f"the runner broke and can't report this run: {type(error).__name__}"
    own = result or Result(Verdict.UNKNOWN)
    parts = {part: own.parts.get(part.name.removeprefix(f"{planned.check.name}/"), own) for part in planned.parts}
    ends = {planned.check: own, **parts}
    return tuple(Observation(check, end.verdict, end.reason, "", at, seconds).bare(why) for check, end in ends.items())


def _redacted(redact: Redactor, text: str) -> str:
    """A text of a run, redacted first and cut then: of a secret that is cut, a piece would be left."""
    return short(redact.text(text), length=len(text))


def short(text: str, most: int = MESSAGE, *, length: int = 0) -> str:
    """The text; cut to `most` characters if it is longer, with its length (or the one that is given) at the end."""
    if len(text) <= most:
        return text
    ending = f"… ({length or len(text):,} characters)"
    return text[: max(0, most - len(ending))] + ending


class Unread(Mapping[str, Any]):
    """A pass's evidence. It is redacted and bounded as soon as somebody reads it, which is seldom.

    It is for plain values alone, which can be read whenever that is; and not for a run that has learnt secrets: their redactor would
    be kept as well.
    """

    __slots__ = ("_raw", "_read", "_redact")

    def __init__(self, raw: Mapping[str, Any], redact: Redactor) -> None:
        self._raw: Mapping[str, Any] | None = dict(raw)
        self._redact: Redactor | None = redact
        self._read: dict[str, Any] = {}

    def _whole(self) -> dict[str, Any]:
        if self._raw is not None and self._redact is not None:
            self._read = Bounded().tree(self._redact.tree(self._raw))
            self._raw = self._redact = None
        return self._read

    def __getitem__(self, key: str) -> Any:
        return self._whole()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __repr__(self) -> str:
        return repr(self._whole())


class Bounded:
    """Bounds one run's evidence: each text, each list, the depth, and all texts together."""

    def __init__(self, observation: int = WHOLE) -> None:
        self._left = observation

    def tree(self, value: Any, depth: int = 0) -> Any:
        """The same shape within the bounds; a mark replaces each part that is left out."""
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
