"""The options of `outrider gate`, and what they mean together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from runner.cli._options import Command
from runner.usage import unusable

if TYPE_CHECKING:
    from judge.verdict import Outcome
    from runner.config.plan import GateRules
    from runner.gate.settings import Settings


class _Unit(click.ParamType[Any]):
    """A number with its unit, as in checks.yaml."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Seconds, or a share. Ends with exit 2 and what to write instead."""
        from probes.fields import percent, positive_seconds

        if not isinstance(value, str):
            return value
        try:
            return positive_seconds(value) if self.name == "duration" else percent(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--expect-revision", {"default": "", "metavar": "SHA", "help": "Wait until the targets serve this revision, and judge only it."}),
    (
        "--wait",
        {"type": _Unit("duration"), "help": "How long to wait for the revision, or for the first response.  [default: gate.wait, 5m]"},
    ),
    ("--rounds", {"type": click.IntRange(1, 1000), "help": "The number of judged runs for each check.  [default: gate.rounds, 5]"}),
    ("--for", {"type": _Unit("duration"), "help": "Judge for this time instead of a number of rounds."}),
    (
        "--consecutive",
        {"type": click.IntRange(1, 1000), "help": "Consecutive responses that must have the revision.  [default: gate.consecutive, 5]"},
    ),
    ("--inconclusive", {"type": click.Choice(["fail", "pass"]), "help": "Exit code to use when inconclusive: fail (1) or pass (0)."}),
    ("--require-slo", {"is_flag": True, "help": "Every SLO must be proven to be met; too few runs are inconclusive."}),
    (
        "--save",
        {"type": click.Path(path_type=Path, dir_okay=False), "help": "Before the deployment: write the measured times to this file."},
    ),
    (
        "--baseline",
        {"type": click.Path(path_type=Path, dir_okay=False), "help": "After the deployment: compare with the times in this file."},
    ),
    ("--fail-on-slower", {"type": _Unit("percent"), "help": "Fail if a check is slower than before by this much, such as 30%."}),
    ("--annotate", {"is_flag": True, "help": "Annotate the deployment in Grafana, from its start to the verdict."}),
    ("--via", {"default": "", "metavar": "URL", "help": "Let the always-on runner at this URL run the gate."}),
    ("--token-file", {"type": click.Path(path_type=Path), "help": "The runner's operate token.  [default: $OPERATE_TOKEN]"}),
    ("--since", {"default": "", "metavar": "TIME", "help": "With --via: when the deployment began; the runs before it are the baseline."}),
)


def gate_options(command: Command) -> Command:
    """All of them, in the order of the list."""
    for name, settings in reversed(_OPTIONS):
        command = click.option(name, **settings)(command)
    return command


@dataclass(frozen=True, slots=True)
class Given:
    """What was given. None where the file's gate section decides."""

    expect_revision: str
    wait: float | None
    rounds: int | None
    span: float | None
    consecutive: int | None
    inconclusive: Outcome | None
    require_slo: bool
    save: Path | None
    baseline: Path | None
    fail_on_slower: float | None
    annotate: bool
    via: str
    token_file: Path | None
    since: str

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Given:
        """From click's; ends the command with exit 2 where two contradict each other."""
        from judge.verdict import Outcome

        told = dict(options) | {"span": options["for"]}
        del told["for"]
        slower: Decimal | None = told["fail_on_slower"]
        told["fail_on_slower"] = None if slower is None else float(slower)
        told["inconclusive"] = Outcome(told["inconclusive"]) if told["inconclusive"] else None
        told["expect_revision"] = told["expect_revision"].strip()
        given = cls(**told)
        given._judge()
        return given

    def _judge(self) -> None:
        if self.span is not None and self.rounds is not None:
            unusable("give either --rounds or --for")
        if self.via and self.save:
            unusable("--save can't be used with --via: the runner already has the runs before the deployment")
        if self.via and (urlsplit(self.via).scheme not in ("http", "https") or not urlsplit(self.via).hostname):
            unusable(f"--via {self.via}: write http:// or https:// and a host")
        if self.fail_on_slower is not None and self.baseline is None and not self.via:
            unusable("--fail-on-slower needs a --baseline")
        if self.since and not self.via:
            unusable("--since needs --via")

    def settings(self, rules: GateRules) -> Settings:
        """What is given, and the file's word for the rest."""
        from runner.gate.settings import Settings

        return Settings(
            expect=self.expect_revision,
            wait=rules.wait if self.wait is None else self.wait,
            rounds=rules.rounds if self.rounds is None else self.rounds,
            span=self.span,
            consecutive=rules.consecutive if self.consecutive is None else self.consecutive,
            require_slo=self.require_slo,
            fail_on_slower=self.fail_on_slower,
        )
