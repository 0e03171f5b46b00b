"""The sections of checks.yaml and the keys that every kind of check has, as models: they validate, and they document."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, WithJsonSchema, field_validator, model_validator

from probes.fields import Duration, Percent, Rate, Secret, between, split_url
from probes.text import setting

Alert = Literal["page", "ticket", "none"]
Gate = Literal["required", "optional"]
_WORD = r"[a-z0-9][a-z0-9_-]*"
_REPORT_NAME = r"[a-z][a-z0-9_]*"


def _matching(pattern: str, complaint: str) -> AfterValidator:
    def judge(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(complaint)
        return text

    return AfterValidator(judge)


def _a_reference(text: str) -> str:
    if text and split_url(text, example="https://www.example.com/").username is not None:
        raise ValueError("can't have a user and a password; leave them out")
    return text


Interval = Annotated[Duration, between("100ms", "366d")]
Timeout = Annotated[Duration, between("1ms", "1d")]
Bucket = Annotated[Duration, between("1ms", "1d")]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Reference = Annotated[str, AfterValidator(_a_reference)]
Tag = Annotated[
    str, _matching(_WORD, "a tag has small letters, digits, - and _"), WithJsonSchema({"type": "string", "pattern": f"^{_WORD}$"})
]
ReportName = Annotated[
    str,
    _matching(f"({_REPORT_NAME})?", "a name in the report has small letters, digits and _, such as db_healthy"),
    WithJsonSchema({"type": "string", "pattern": f"^{_REPORT_NAME}$"}),
]


class Section(BaseModel):
    """A part of the file: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class General(Section):
    """What stands at the top of the file beside the sections."""

    version: Literal[1] = Field(description="The version of this file's format: 1.")
    include: str | tuple[str, ...] = Field(
        default=(),
        description="Further files of checks: paths, folders or patterns (checks.d/*.yaml), relative to the file that includes them.",
    )
    service: str = Field(default="outrider", min_length=1, description="The service under observation; a label of probe_check_info.")
    environment: str = Field(default="", description="The service's environment, such as production; empty when it has none.")
    location: str = Field(default="local", description="Where this runner runs, such as a region.")
    locations: tuple[str, ...] = Field(
        default=(),
        max_length=64,
        description="Every location where a runner runs all checks: runs are shifted in time, and each series has the label location.",
    )
    references: tuple[Reference, ...] = Field(
        default=(),
        max_length=8,
        description="Addresses outside that should always respond: if they don't either, the runner's own network is taken to be down.",
    )
    state: Path = Field(default=Path(".outrider"), description="The folder of budgets and limits, relative to this file.")


class Defaults(Section):
    """What a check has that doesn't say otherwise."""

    interval: Interval = Field(default=30.0, description="How often a check runs.")
    timeout: Timeout = Field(default=5.0, description="How long a run may take.")
    zone: str = Field(default="UTC", description="Time zone of cron expressions, such as America/Los_Angeles.", examples=["UTC"])
    alert: Alert = Field(
        default="ticket", description="The level of the alert of a failing check: page (severity critical), ticket (warning) or none."
    )
    gate: Gate = Field(default="required", description="required: a failure of the check fails the gate; optional: it doesn't.")


class SloKeys(Section):
    """An objective. One with a threshold counts passes that were quick enough; each check has a budget of its own."""

    objective: Percent = Field(description="The share of good runs, below 100%.")
    window: Duration = Field(default=30 * 86400.0, description="The period, such as 30d.")
    threshold: Duration | None = Field(default=None, description="The longest time of a good run.")
    measure: str | None = Field(
        default=None, min_length=1, description="A phase, a step (step.story) or a fact to measure instead of the whole run."
    )

    @model_validator(mode="after")
    def _leaves_a_budget(self) -> Self:
        if not 0 < self.objective < 1:
            raise ValueError(f"objective {self.objective * Decimal(100):f}% leaves no budget to spend; write one above 0% and below 100%")
        if self.measure and self.threshold is None:
            raise ValueError("measure needs a threshold")
        return self


class ServerKeys(Section):
    """Where `outrider run` listens, and who may do what."""

    listen: str = Field(default="127.0.0.1:9797", description="Address and port; 0.0.0.0:9797 accepts connections from everywhere.")
    read_token: Secret = Field(default=SecretStr(""), description="The token for reading; without it reading is open.")
    operate_token: Secret = Field(
        default=SecretStr(""), description="The token for changes. Every change is refused, also from pipelines, until it is set."
    )
    hosts: tuple[str, ...] = Field(
        default=(), description="Further names of this runner in URLs, in addition to localhost and its own address."
    )
    buckets: tuple[Bucket, ...] = Field(
        default=(),
        max_length=50,
        description="Edges of the buckets of probe_run_duration_seconds, such as [100ms, 1s], beside the thresholds of SLOs.",
    )

    @field_validator("buckets")
    @classmethod
    def _each_once(cls, buckets: tuple[float, ...]) -> tuple[float, ...]:
        if twice := sorted({edge for edge in buckets if buckets.count(edge) > 1}):
            raise ValueError(f"has {setting(twice[0])} twice")
        return tuple(sorted(buckets))


class GateKeys(Section):
    """What `outrider gate` does unless its options say otherwise."""

    tags: tuple[Tag, ...] = Field(default=("smoke",), min_length=1, description="The gate runs the checks that have one of these tags.")
    wait: Timeout = Field(default=300.0, description="How long the gate waits for the expected revision.")
    rounds: int = Field(default=5, ge=1, le=1000, description="The number of judged runs for each check.")
    consecutive: int = Field(
        default=5, ge=1, le=1000, description="The number of consecutive responses from each address that must have the revision."
    )


class GrafanaKeys(Section):
    """Where deployments, outages and changes of revision are marked; an empty url marks nothing."""

    url: Secret = Field(description="Grafana's address, with its path.", examples=["http://127.0.0.1:3000"])
    token: Secret = Field(default=SecretStr(""), description="The token of a service account that may write annotations (Editor).")
    api: Literal["auto", "legacy", "apis"] = Field(default="auto", description="Which of Grafana's two APIs to use; auto finds it out.")
    namespace: str = Field(default="default", description="The namespace for the new API: default, org-N or stack-N.")
    dashboard: str = Field(default="", description="A dashboard's UID; without it the whole organization sees the annotation.")
    panel: int | None = Field(default=None, description="A panel of that dashboard.")

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: SecretStr) -> SecretStr:
        if text := url.get_secret_value():
            split_url(text, example="http://127.0.0.1:3000")
        return url


class CoordinateKeys(Section):
    """How several runners share the checks, by leases in Redis. The address alone may stand instead: coordinate: redis://..."""

    url: Secret = Field(description="The address of Redis: redis://..., or rediss://... with TLS.", examples=["redis://127.0.0.1:6379/0"])
    lasts: Annotated[Duration, between("500ms", "10m")] | None = Field(
        default=None, description="How long a lease lasts; by default a third of the shortest interval, between 1s and 10s."
    )
    slots: int = Field(default=128, ge=64, le=256, description="Into how many slots the checks are divided; the same for all runners.")
    most: int = Field(default=10000, ge=1, description="The most checks that one runner takes, also when others have died.")

    @field_validator("url")
    @classmethod
    def _a_redis(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        if text and not text.startswith(("redis://", "rediss://")):
            raise ValueError("must be an address of Redis, such as redis://127.0.0.1:6379/0")
        if text:
            split_url(text.replace("redis", "http", 1), example="redis://127.0.0.1:6379/0")
        return url


class CeilingKeys(Section):
    """What no load run may exceed, whatever its options say."""

    rate: Rate = Field(default=Rate(50.0, 1.0), description="The highest rate of arrivals, such as 200/s.")
    duration: Duration = Field(default=600.0, description="The longest duration.")


class ScenarioKeys(Section):
    """A load and what it is held against."""

    mix: dict[str, Weight] = Field(description="Tasks of loadtests/, and journeys and http checks of this file, with their weights.")
    count: Literal["requests", "journeys"] = Field(default="requests", description="What is judged: each request, or each whole journey.")
    slos: tuple[str, ...] = Field(description="Names under slos:.")
    target: str = Field(default="", description="The target; by default the only one with load: true.")

    @model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        if not self.mix:
            raise ValueError("mix names no task; write one, such as {browse: 1}")
        if not self.slos:
            raise ValueError("slos is empty, so nothing could be judged")
        return self


class LimitKeys(Section):
    """A target's limit alone."""

    limit: Rate | None = None


class LoadKeys(Section):
    """Load tests."""

    ceiling: CeilingKeys = Field(default=CeilingKeys(), description="The highest rate and duration of any run.")
    most: dict[str, str | tuple[str, ...]] = Field(
        default={},
        description="Requests that use up a limit: POST /api/stories/* to a number in a period (2000/1d), or to targets with that limit.",
    )
    scenarios: dict[str, ScenarioKeys] = Field(default={}, description="The scenarios by name, for outrider load NAME.")


class CheckKeys(Section):
    """What every check has, whatever its kind."""

    kind: str = Field(description="The kind of check.")
    for_each: tuple[str, ...] | dict[str, Any] | None = Field(
        default=None,
        description="Elements, a list or a mapping: one check NAME-KEY for each, with ${each.key} and ${each.value} in its settings.",
    )
    interval: Interval | None = Field(default=None, description="How often it runs, such as 30s.")
    cron: str | None = Field(
        default=None,
        description="A cron expression instead of an interval: five fields, or @hourly, @daily, @weekly ...",
        examples=["@daily"],
    )
    zone: str | None = Field(default=None, description="Time zone of cron, such as America/Los_Angeles.", examples=["UTC"])
    timeout: Timeout | None = Field(default=None, description="How long a run may take; not longer than the interval.")
    enabled: bool = Field(default=True, description="false: the check doesn't run, and none of its variables is needed.")
    slos: tuple[str, ...] = Field(default=(), description="Names under slos:.")
    tags: tuple[Tag, ...] = Field(default=(), description="Tags to select checks by; the page groups checks by their first tag.")
    alert: Alert | None = Field(default=None, description="The level of its alert: page (severity critical), ticket (warning) or none.")
    runbook: str = Field(default="", description="The page or file that says what to do if the check fails.")
    depends_on: tuple[str, ...] = Field(
        default=(),
        description="Checks that this one depends on: while one fails with an alert at least as severe, this check's alert is silent.",
    )
    reports_as: ReportName = Field(default="", description="Its name in Outrider's own /health/metrics.")
    confirm: int = Field(default=0, ge=0, le=5, description="The number of quick re-checks that must also fail before the check is down.")
    gate: Gate | None = Field(default=None, description="required or optional: whether a failure fails the gate.")

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        if self.interval is not None and self.cron is not None:
            raise ValueError("has an interval and a cron; keep one of them")
        if self.zone is not None and self.cron is None:
            raise ValueError("has a zone but no cron")
        return self
