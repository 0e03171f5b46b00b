"""What a gate is asked to do: one record for the command line, for POST /api/gate and for `--via`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticKnownError

from judge.baseline import Before
from judge.observation import Observation
from probes.fields import percent, positive_seconds
from runner.config.plan import GateRules, Plan, Planned

LONGEST = 1800.0  # seconds: an always-on runner's gate waits and judges no longer than this


def _seconds(value: Any) -> Any:
    """A person writes a duration with its unit (5m); a program sends a float, in seconds (300.0)."""
    return value if isinstance(value, float) else positive_seconds(value)


def _share(value: Any) -> Any:
    """A person writes a percentage (30%); a program sends a float, as a share (0.3)."""
    return value if isinstance(value, float) else float(percent(value))


def _timestamp(value: Any) -> Any:
    """Seconds since the epoch, from ISO 8601 with an offset."""
    if not isinstance(value, str):
        return value
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("write the moment with its offset, such as 2026-11-24T12:00:00Z")
    return moment.timestamp()


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1)]


class GateSettings(BaseModel):
    """How one gate waits and judges. What is not given (`model_fields_set`) is what the file's gate section says."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    expect_revision: str = ""  # the revision that must answer; "": any
    wait: Seconds = 300.0
    rounds: int = Field(default=5, ge=1, le=1000)
    span: Seconds | None = Field(default=None, alias="for")  # judge for so long, instead of `rounds` times
    consecutive: int = Field(default=5, ge=1, le=1000)
    require_slo: bool = False
    fail_on_slower: Share | None = None

    @field_validator("expect_revision")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value.strip():  # a variable that is not set must not turn "this revision" into "any"
            raise ValueError("is empty; leave it out to accept any revision")
        return value.strip()

    def with_rules(self, rules: GateRules) -> Self:
        """The same settings, completed by the file's gate section."""
        missing = {"wait", "rounds", "consecutive"} - self.model_fields_set
        return self.model_copy(update={name: getattr(rules, name) for name in missing})


class Baseline(BaseModel):
    """What the caller measured before the deployment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: dict[str, tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]]
    revisions: dict[str, str] = {}
    source: str = Field(default="the caller's baseline", alias="said")


class GateRequest(GateSettings):
    """A gate that an always-on runner is asked for: its settings, its checks, and what was measured before."""

    expect_revision: str = Field(default="", max_length=200)
    tags: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    since: Annotated[float | None, BeforeValidator(_timestamp)] = None
    baseline: Baseline | None = None

    @field_validator("wait", "span")
    @classmethod
    def _limit(cls, value: float | None) -> float | None:
        if value is not None and value > LONGEST:
            raise PydanticKnownError("less_than_equal", {"le": LONGEST})
        return value

    @classmethod
    def read(cls, request: Mapping[str, Any]) -> Self:
        """The body of POST /api/gate; null is the same as nothing. Raises ValueError with all that is wrong, in a line."""
        try:
            return cls.model_validate({name: value for name, value in request.items() if value is not None})
        except ValidationError as error:
            problems = (
                f"{'.'.join(map(str, one['loc'])) or 'request'}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors()
            )
            raise ValueError("; ".join(problems)) from None

    def before(self) -> Before | None:
        return Before(self.baseline.seconds, self.baseline.revisions, self.baseline.source) if self.baseline else None


def selected(plan: Plan, tags: Sequence[str], names: Sequence[str]) -> tuple[Planned, ...]:
    """The plan's checks of these tags and names; of the gate's own tags where neither is given. Raises ValueError for unknown ones."""
    wanted = tuple(tags) if tags or names else plan.gate.tags
    carried = {tag for planned in plan.checks for tag in planned.check.tags}
    known = {planned.check.name for planned in plan.checks}
    wrong = [f"no check carries the tag {tag}" for tag in wanted if tag not in carried]
    wrong += [f"there is no check {name}" for name in names if name not in known]
    if wrong:
        raise ValueError("; ".join(wrong))
    return tuple(one for one in plan.checks if one.check.name in names or not set(wanted).isdisjoint(one.check.tags))


class Display(Protocol):
    """Where a gate shows what it does while it does it."""

    def say(self, text: str) -> None:
        """What is being waited for or done now."""
        ...

    def ran(self, seen: Observation, *, judged: bool = True) -> None:
        """One run is over."""
        ...
