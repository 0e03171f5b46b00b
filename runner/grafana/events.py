"""What is annotated in Grafana: an Event of any sort, and the Deployment, the outage and the revision change that become one."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from judge.revision import brief

OPEN = "state:open"  # a tag of what has begun and not ended
UNFINISHED = "unfinished"  # the verdict of a deployment whose end nobody recorded
_LONGEST = 64  # bytes of a tag's value: all tags together stay below Grafana's default limit of 500 bytes
_LONGEST_ID = 100
_LONGEST_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Event:
    """One annotation. `identity` are the tags by which it is found again, so that it is written once, from wherever.

    Times are seconds since the epoch. Without an end it is under way; without a start it is the end of something whose start
    was recorded elsewhere. `kin` is how the id of that start may begin, where another job recorded it under another id.
    """

    identity: tuple[str, ...]
    text: str
    start: float | None
    end: float | None = None
    tags: tuple[str, ...] = ()
    title: str = ""  # for messages: `deployment 3f2c91a`
    dashboard: str = ""  # a dashboard's UID; "": the whole organization
    panel: int | None = None
    kin: str = ""
    deployment: Deployment | None = None  # what it was made of, so that a later record of the same adds to it

    def __post_init__(self) -> None:
        if self.start is None and self.end is None:
            raise ValueError("an event has a start or an end")
        if not self.identity:
            raise ValueError("an event has tags that tell it apart")

    @property
    def start_ms(self) -> int:
        """The start in milliseconds, Grafana's unit: the end where no start is known."""
        return round((self.start if self.start is not None else self.end or 0.0) * 1000)

    @property
    def end_ms(self) -> int:
        """The end, never before the start (Grafana would swap the two without a word); the start while it is under way."""
        return max(self.start_ms, round(self.end * 1000) if self.end is not None else 0)

    @property
    def all_tags(self) -> tuple[str, ...]:
        """Its tags as Grafana gets them, each once."""
        return tuple(dict.fromkeys([*self.tags, *self.identity, *([OPEN] if self.end is None else [])]))

    @property
    def id(self) -> str:
        """The value of its `id:` tag."""
        return next((t.removeprefix("id:") for t in self.identity if t.startswith("id:")), "")


@dataclass(frozen=True, slots=True)
class Deployment:
    """A release on its way: `id` is the CI's run and attempt or given by hand, so that a rollback is a deployment of its own.

    `started` and `finished` in seconds since the epoch; the job that records one may not know the other. `revision` is what a person
    or a script said; `commit` is the CI's own, which counts only where nobody said anything.
    """

    service: str
    environment: str
    id: str
    revision: str = ""
    version: str = ""
    started: float | None = None
    finished: float | None = None
    verdict: str = ""  # pass, fail, inconclusive; needed once it is finished
    detail: str = ""  # why, in a few lines; no secret in it
    link: str = ""  # the CI's page
    dashboard: str = ""
    panel: int | None = None
    run: str = ""  # the CI's run without the attempt: a start recorded by another job of the same run is found by it
    commit: str = ""

    @property
    def deployed(self) -> str:
        """The revision that is shown; "" where none is known."""
        return self.revision or self.commit

    @property
    def title(self) -> str:
        """`deployment 3f2c91a`: its revision, version or id."""
        return f"deployment {(brief(self.deployed) or self.version or self.id)}"

    def event(self) -> Event:
        """What is known so far, as an event. Raises ValueError where it is finished without a verdict, or has no time at all."""
        if self.finished is not None and not self.verdict:
            raise ValueError("a finished deployment has a verdict")
        tags, outcome = ["deployment", *labelled(version=self.version, revision=self.deployed)], ""
        if self.finished is not None:
            tags += labelled(verdict=self.verdict)
            outcome = f": {self.verdict}"
        version = f" ({self.version})" if self.version and self.deployed else ""
        first = f"{self.title.capitalize()}{version} of {self.service} to {self.environment}{outcome}"
        return Event(
            labelled(id=self.id, service=self.service, environment=self.environment),
            annotation_text(first, self.detail, self.link),
            self.started,
            self.finished,
            tuple(tags),
            self.title,
            self.dashboard,
            self.panel,
            f"{self.run}/" if self.run else "",
            self,
        )

    def with_earlier(self, earlier: Deployment) -> Deployment:
        """What this record and an earlier one of the same deployment say together.

        The finish counts before the start, whichever was told first, and of two of a kind this one. What it doesn't say stands as it
        was said before, and so do the link and the CI's commit: those are no one's word. The verdict and its detail are the finish's.
        """
        start, finish = (self, earlier) if self.finished is None and earlier.finished is not None else (earlier, self)
        begun = [one.started for one in (start, finish) if one.started is not None]
        return replace(
            finish,
            revision=finish.revision or start.revision,
            version=finish.version or start.version,
            commit=start.commit or finish.commit,
            link=start.link or finish.link,
            started=min(begun, default=None),
            dashboard=finish.dashboard or start.dashboard,
            panel=finish.panel if finish.dashboard or not start.dashboard else start.panel,
            run=finish.run or start.run,
        )


def outage(
    check: str,
    *,
    service: str,
    environment: str,
    began: float,
    ended: float | None = None,
    until: str = "",
    why: str = "",
    dashboard: str = "",
) -> Event:
    """From a check's first failure to its recovery, or to what else ended it (`until`).

    The moment of the first failure tells outages of one check apart.
    """
    text = (
        f"{check} is failing" if ended is None else f"{check} failed for {_duration(ended - began)}" + (f", until {until}" if until else "")
    )
    identity = labelled(id=f"outage/{check}/{round(began * 1000)}", service=service, environment=environment)
    tags = ("outage", *labelled(check=check))
    return Event(identity, annotation_text(text, why), began, ended, tags, f"outage of {check}", dashboard)


def revision_change(target: str, *, service: str, environment: str, at: float, before: str, after: str, dashboard: str = "") -> Event:
    """Another revision answered than before: a point, seen by the runner itself."""
    identity = labelled(id=f"revision/{target}/{after}/{round(at * 1000)}", service=service, environment=environment)
    tags = ("revision", *labelled(target=target, revision=after))
    text = f"{target} serves revision {after}" + (f", before that {before}" if before else "")
    return Event(identity, annotation_text(text), at, at, tags, f"revision {brief(after)} of {target}", dashboard)


def load_run(
    scenario: str, *, service: str, environment: str, began: float, ended: float, verdict: str, why: str = "", dashboard: str = ""
) -> Event:
    """A load test from its first arrival to its end: it explains what a dashboard shows meanwhile."""
    identity = labelled(id=f"load/{scenario}/{round(began * 1000)}", service=service, environment=environment)
    tags = ("load", *labelled(scenario=scenario, verdict=verdict))
    return Event(identity, annotation_text(f"load test {scenario}: {verdict}", why), began, ended, tags, f"load test {scenario}", dashboard)


def deployment_from(tags: Iterable[str], text: str, *, ended: bool, **more: Any) -> Deployment:
    """What an annotation tells of its deployment: the reverse of `Deployment.event`. `more` are times and dashboard."""
    values = {name: value for name, _, value in (tag.partition(":") for tag in tags) if value}
    lines = html.unescape(text).split("\n")[1:]
    link = lines.pop() if lines and lines[-1].startswith(("http://", "https://")) else ""
    names = ("service", "environment", "id", "revision", "version", "verdict")
    tagged = {name: values.get(name, "") for name in names}
    return Deployment(**tagged | {"link": link, "detail": "\n".join(lines) if ended else ""} | more)


def labelled(**values: str) -> tuple[str, ...]:
    """Tags `name:value` of those that have a value: blanks made one; long values are cut, and a hash tells them apart."""
    tags = []
    for name, value in values.items():
        if tag := _bounded(value, _LONGEST_ID if name == "id" else _LONGEST):
            tags.append(f"{name}:{tag}")
    return tuple(tags)


def _bounded(value: str, most: int) -> str:
    plain = " ".join(value.split())
    whole = plain.encode()
    if len(whole) <= most:
        return plain
    return f"{whole[: most - 9].decode('utf-8', 'ignore')}-{hashlib.sha256(whole).hexdigest()[:8]}"


def annotation_text(*lines: str) -> str:
    """The text of an annotation: Grafana shows it as HTML, so that HTML's characters are escaped; cut where it is too long."""
    text = "\n".join(line for line in lines if line)
    cut = text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
    return html.escape(cut, quote=False)


def name_of(identity: Iterable[str]) -> str:
    """A name for the new API, the same wherever it is made: `outrider-` and 20 hex digits."""
    return f"outrider-{hashlib.sha256(chr(10).join(sorted(identity)).encode()).hexdigest()[:20]}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest if not hours else 0, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "less than a second"
