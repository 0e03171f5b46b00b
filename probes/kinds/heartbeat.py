"""Kind `heartbeat`: a check in reverse. A backup, worker or cron job reports that it ran, and silence is a failure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from probes import Context, Family, Probe, Reason, Result, Verdict, fact_family
from probes.core import REPORTS
from probes.fields import Duration, Key
from probes.text import age, clipped, moment, one_line

_MESSAGE = 200  # characters of a job's message that are shown
_LONGEST_MESSAGE = 2000
_SHORTEST_TOKEN = 16


class _Heartbeat(BaseModel):
    """What a job reports."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    state: Literal["start", "end"] = "end"
    exit: int = Field(default=0, ge=-(2**31), le=2**31)
    message: str = Field(default="", max_length=_LONGEST_MESSAGE)
    seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    run: str = Field(default="", max_length=100)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept of a job; moments in seconds since the epoch."""

    since: float  # when the first heartbeat began to be expected
    started: float | None = None  # of the run under way
    run: str = ""
    ended: float | None = None  # of the latest run that ended
    seconds: float | None = None  # which it took; None where neither its start nor its time was reported
    exit: int = 0
    message: str = ""


class Heartbeat(Probe):
    """Passes while a job reports in time that it ran: POST /heartbeat/NAME, or outrider heartbeat NAME -- COMMAND.

    Reasons: stale (silence for longer than every and grace), status (the job reported a failure), latency (its run was too short or too
    long), timeout (its run hasn't ended within longest).
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"every": "1d", "grace": "2h", "token": "a-secret-of-the-job"},)
    families: ClassVar[tuple[Family, ...]] = (
        fact_family("probe_heartbeat_timestamp_seconds", "When the latest run of the job ended, in seconds since the epoch", "ended"),
        fact_family("probe_heartbeat_run_duration_seconds", "Seconds that the latest run of the job took", "job_seconds"),
        fact_family("probe_heartbeat_exit_code", "The exit code of the latest run of the job", "exit_code"),
    )

    every: Duration = Field(description="The longest time from one end of a run to the next, such as 1d.")
    grace: Duration = Field(default=300.0, description="How much later it may come.")
    shortest: Duration | None = Field(default=None, description="A run that took less time fails: a backup of 2s saved nothing.")
    longest: Duration | None = Field(default=None, description="A run that takes more time fails, also while it is under way.")
    token: Key = Field(
        description="The job's own token, at least 16 characters; no other check should have it.", examples=["0123456789abcdef"]
    )

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.shortest is not None and self.longest is not None and self.shortest >= self.longest:
            raise ValueError("shortest isn't shorter than longest")
        return self

    @field_validator("token")
    @classmethod
    def _hard_to_guess(cls, token: SecretStr) -> SecretStr:
        if len(token.get_secret_value()) < _SHORTEST_TOKEN:
            raise ValueError(f"has fewer than {_SHORTEST_TOKEN} characters; make one, such as by openssl rand -hex 16")
        return token

    def address(self) -> str:
        return ""

    def report_token(self) -> SecretStr:
        return self.token

    def reported(self, known: Mapping[str, Any] | None, report: Mapping[str, Any], at: float) -> Mapping[str, Any]:
        try:
            heartbeat = _Heartbeat.model_validate(report)
        except ValidationError as error:
            problems = (f"{'.'.join(map(str, one['loc'])) or 'heartbeat'}: {one['msg']}" for one in error.errors(include_url=False))
            raise ValueError("; ".join(problems)) from None
        before = _Known(**known) if known else _Known(at)
        if heartbeat.state == "start":
            return asdict(replace(before, started=at, run=heartbeat.run))
        same = before.started is not None and heartbeat.run == before.run
        seconds = heartbeat.seconds
        if seconds is None and same and before.started is not None:
            seconds = max(0.0, at - before.started)
        ended = replace(before, ended=at, seconds=seconds, exit=heartbeat.exit, message=one_line(heartbeat.message))
        return asdict(replace(ended, started=None, run="") if same or not heartbeat.run else ended)

    async def run(self, ctx: Context) -> Result:
        now = ctx.clock.time()
        known = _Known(**await ctx.ledger.recall(REPORTS, ctx.check, otherwise=asdict(_Known(now))))
        ctx.facts |= {} if known.ended is None else {"ended": known.ended, "exit_code": known.exit}
        ctx.facts |= {} if known.seconds is None else {"job_seconds": known.seconds}
        if known.message:
            ctx.evidence["message"] = known.message
        return self._judged(known, now)

    def _judged(self, known: _Known, now: float) -> Result:
        """What is known of the job now. A failure of its latest run stands until a run ends well."""
        message = f": {clipped(known.message, _MESSAGE)}" if known.message else ""
        longest = math.inf if self.longest is None else self.longest
        if known.ended is not None and known.exit:
            return Result.failed(Reason.STATUS, f"the job reported exit code {known.exit} at {moment(known.ended)}{message}")
        if known.started is not None and now - known.started > longest:
            begun = f"the run that began at {moment(known.started)} hasn't ended after {age(now - known.started)}"
            return Result.failed(Reason.TIMEOUT, f"{begun}; it may take {age(longest)}")
        silent = now - (known.since if known.ended is None else known.ended)
        if silent > self.every + self.grace:
            last = f"the last heartbeat came {age(silent)} ago" if known.ended is not None else f"no heartbeat has come for {age(silent)}"
            return Result.failed(Reason.STALE, f"{last}; one is due every {age(self.every)}, and {age(self.grace)} later at most")
        if known.ended is None:
            due = moment(known.since + self.every + self.grace)
            return Result(Verdict.UNKNOWN, Reason.STALE, f"no heartbeat has come yet; it is a failure if none comes until {due}")
        took = "" if known.seconds is None else age(known.seconds)
        if took and not (self.shortest or 0.0) <= (known.seconds or 0.0) <= longest:
            bound = f"at least {age(self.shortest or 0.0)}" if (known.seconds or 0.0) <= longest else f"at most {age(longest)}"
            return Result.failed(Reason.LATENCY, f"the run took {took}, and {bound} was expected{message}")
        after = f" after {took}" if took else ""
        return Result.passed(f"the job ended well{after}, {age(now - known.ended)} ago{message}")
