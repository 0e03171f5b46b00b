"""A gate's request as the always-on runner takes it (POST /api/gate): the words of the command line, checked and bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from judge.baseline import Before
from judge.observation import Check
from probes.fields import Duration, Percent
from runner.config.plan import GateRules, Plan, Planned
from runner.gate.settings import Settings

LONGEST = 1800.0  # seconds that a request may ask to wait, and to judge for; what checks.yaml says is bounded by its owner


def _moment(value: Any) -> Any:
    """Seconds since the epoch, of a moment in ISO 8601 with its offset."""
    if not isinstance(value, str):
        return value
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("write the moment with its offset, such as 2026-11-24T12:00:00Z")
    return moment.timestamp()


class Baseline(BaseModel):
    """What the caller measured before the deployment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: dict[str, tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]]
    revisions: dict[str, str] = {}
    said: str = "the caller's baseline"


class GateRequest(BaseModel):
    """One gate. What isn't said is the runner's own gate section's."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    tags: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    expect_revision: str = Field(default="", max_length=200)
    wait: Duration | None = Field(default=None, le=LONGEST)
    rounds: int | None = Field(default=None, ge=1, le=1000)
    span: Duration | None = Field(default=None, alias="for", le=LONGEST)
    consecutive: int | None = Field(default=None, ge=1, le=1000)
    require_slo: bool = False
    fail_on_slower: Percent | None = None
    since: Annotated[float | None, BeforeValidator(_moment)] = None
    baseline: Baseline | None = None

    def settings(self, rules: GateRules) -> Settings:
        """As a gate takes them."""
        return Settings(
            expect=self.expect_revision.strip(),
            wait=rules.wait if self.wait is None else self.wait,
            rounds=rules.rounds if self.rounds is None else self.rounds,
            span=self.span,
            consecutive=rules.consecutive if self.consecutive is None else self.consecutive,
            require_slo=self.require_slo,
            fail_on_slower=float(self.fail_on_slower) if self.fail_on_slower is not None else None,
        )

    def before(self) -> Before | None:
        """What the caller measured, where it did."""
        return Before(self.baseline.seconds, self.baseline.revisions, self.baseline.said) if self.baseline else None


def read(told: Mapping[str, Any]) -> GateRequest:
    """Raises ValueError with all that is wrong, in a line."""
    try:
        return GateRequest.model_validate(told)
    except ValidationError as error:
        said = (f"{'.'.join(map(str, one['loc'])) or 'request'}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors())
        raise ValueError("; ".join(said)) from None


def selected(plan: Plan, tags: Sequence[str], names: Sequence[str]) -> tuple[Planned, ...]:
    """The plan's checks of these tags and names; of the gate's own tags where neither is given. Raises ValueError for unknown ones."""
    wanted = tuple(tags) if tags or names else plan.gate.tags
    carried = {tag for planned in plan.checks for tag in planned.check.tags}
    known = {planned.check.name for planned in plan.checks}
    wrong = [f"no check carries the tag {tag}" for tag in wanted if tag not in carried]
    wrong += [f"there is no check {name}" for name in names if name not in known]
    if wrong:
        raise ValueError("; ".join(wrong))

    def chosen(check: Check) -> bool:
        return check.name in names or not set(wanted).isdisjoint(check.tags)

    return tuple(planned for planned in plan.checks if chosen(planned.check))
