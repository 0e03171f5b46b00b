"""A login of checks.yaml: how it is made and given back, and what requests inside its session carry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from probes.core import Ask
from probes.expect.status import Statuses
from probes.expect.template import fill, is_generated, variables
from probes.fields import REVEALED, Duration, Headers, declared
from probes.journeys.steps import Step, check_steps
from probes.journeys.totp import TotpField
from probes.target import Target, TargetRef
from probes.text import did_you_mean

EXPIRES_IN = "expires_in"  # a captured value of this name is the session's life in seconds (RFC 6749, 5.1)
_EARLY = 30.0  # seconds before its end from which a session is no longer used; at most a tenth of its life


class Login(BaseModel):
    """A session that the checks of a target share: made when the first of them needs it, used for its life, and given back."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(json_schema_extra={"x-hidden": True})  # filled in by the plan: the key under logins:
    target: TargetRef = Field(description="A name under targets: whose checks may use this login.")
    steps: tuple[Step, ...] = Field(
        description="The requests that log in, in order; those with always: true give the session back when it is no longer needed."
    )
    headers: Headers = Field(
        default={}, description="Headers of every request inside the session, such as Authorization: Bearer {{token}}; cookies are kept."
    )
    lasts: Duration = Field(
        default=3600.0, description="How long the session is used; a captured value named expires_in (seconds) says it instead."
    )
    over: Statuses = Field(
        default_factory=lambda: Statuses.parse(401), description="The status codes that say that the session is over; 401 by default."
    )
    totp: TotpField | None = Field(default=None, description="The secret of a second factor in base32; {{totp}} is the code of the moment.")
    lockout: Duration = Field(default=1800.0, description="How long nobody tries to log in after a refused login.")

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        check_steps(self.steps, totp=self.totp is not None)
        if not any(step.logs_in for step in self.steps if not step.always):
            raise ValueError("none of its steps is a login; write login: true at the one that is")
        known = [name for step in self.steps if not step.always for name in step.capture]
        for name in variables(self.headers):
            if name not in known and not is_generated(name):
                raise ValueError(f"headers: no step captures {{{{{name}}}}}{did_you_mean(name, known)}")
        return self

    @cached_property
    def key(self) -> str:
        """The same for the same settings, and no secret."""
        return hashlib.sha256(self.model_dump_json(by_alias=True, context=REVEALED).encode()).hexdigest()

    def location(self, path: str) -> str:
        """The absolute address of a path below the target."""
        return self.target.url.rstrip("/") + path

    def base_headers(self) -> dict[str, str]:
        """The target's headers, secrets revealed."""
        return {name: value.get_secret_value() for name, value in self.target.headers.items()}

    def filled_headers(self, values: Mapping[str, Any]) -> dict[str, str]:
        """The headers inside the session."""
        return {name: fill(value.get_secret_value(), values) for name, value in self.headers.items()}

    def life(self, values: Mapping[str, Any]) -> float:
        """Seconds for which a session with these captured values is used."""
        try:
            lifetime = float(values[EXPIRES_IN])
        except (KeyError, TypeError, ValueError, OverflowError):
            lifetime = self.lasts
        whole = lifetime if 0 < lifetime < float("inf") else self.lasts
        return whole - min(_EARLY, whole / 10)

    def around(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """These steps with a login of their own, for who shares no session: each user of a load test logs in."""
        begins = tuple(step for step in self.steps if not step.always)
        inside = tuple(step.model_copy(update={"headers": {**self.headers, **step.headers}}) for step in steps)
        return (*begins, *inside, *(step for step in self.steps if step.always))

    def asks(self) -> tuple[Ask, ...]:
        """The requests that log in and give back."""
        return asks_of(self.steps, self.target)

    def targets(self) -> tuple[Target, ...]:
        """Those that its steps ask."""
        return tuple({each.name: each for each in (self.target, *(step.target for step in self.steps if step.target))}.values())


def asks_of(steps: tuple[Step, ...], target: Target | None, base: str = "") -> tuple[Ask, ...]:
    """Each step's request, as often as it is sent at most: at the step's own target, else at `target` or at `base`."""
    found: list[Ask] = []
    for index, step in enumerate(steps):
        path = "/" if step.leads_anywhere else step.path
        own = step.target or target
        url = own.url.rstrip("/") + path if own else base.rstrip("/") + path
        found += [
            Ask(step.method, url, ("steps", index), step.target.name if step.target else "", not step.leads_anywhere)
        ] * step.most_requests
    return tuple(found)


LoginRef = Annotated[
    Login, BeforeValidator(declared("logins", "login")), WithJsonSchema({"type": "string", "description": "a name under logins:"})
]
