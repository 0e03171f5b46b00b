"""The options of `outrider gate`, and what they mean together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli._options import Command, Unit
from runner.usage import unusable

if TYPE_CHECKING:
    from judge.verdict import Outcome
    from runner.gate.settings import GateSettings


_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--expect-revision", {"default": None, "metavar": "SHA", "help": "Wait until the targets serve this revision, and judge only it."}),
    (
        "--wait",
        {"type": Unit("duration"), "help": "How long to wait for the revision, or for the first response.  [default: gate.wait, 5m]"},
    ),
    ("--rounds", {"type": click.IntRange(1, 1000), "help": "The number of judged runs for each check.  [default: gate.rounds, 5]"}),
    ("--for", {"type": Unit("duration"), "help": "Judge for this time instead of a number of rounds."}),
    (
        "--consecutive",
        {"type": click.IntRange(1, 1000), "help": "Consecutive responses that must have the revision.  [default: gate.consecutive, 5]"},
    ),
    ("--inconclusive", {"type": click.Choice(["fail", "pass"]), "help": "Exit code to use when inconclusive: fail (1) or pass (0)."}),
    ("--require-slo", {"is_flag": True, "default": None, "help": "Every SLO must be proven to be met; too few runs are inconclusive."}),
    (
        "--save",
        {"type": click.Path(path_type=Path, dir_okay=False), "help": "Before the deployment: write the measured times to this file."},
    ),
    (
        "--baseline",
        {"type": click.Path(path_type=Path, dir_okay=False), "help": "After the deployment: compare with the times in this file."},
    ),
    ("--fail-on-slower", {"type": Unit("percent"), "help": "Fail if a check is slower than before by this much, such as 30%."}),
    ("--annotate", {"is_flag": True, "help": "Annotate the deployment in Grafana, from its start to the verdict."}),
    ("--via", {"default": "", "metavar": "URL", "help": "Let the always-on runner at this URL run the gate."}),
    ("--token-file", {"type": click.Path(path_type=Path), "help": "The runner's operate token.  [default: $OPERATE_TOKEN]"}),
    ("--since", {"default": "", "metavar": "TIME", "help": "With --via: when the deployment began; the runs before it are the baseline."}),
)
_SETTINGS = ("expect_revision", "wait", "rounds", "for", "consecutive", "require_slo", "fail_on_slower")


def gate_options(command: Command) -> Command:
    """All of them, in the order of the list."""
    for name, settings in reversed(_OPTIONS):
        command = click.option(name, **settings)(command)
    return command


@dataclass(frozen=True, slots=True)
class GateOptions:
    """What was given on the command line: the gate's settings, and what the command does around it."""

    settings: GateSettings
    inconclusive: Outcome | None
    save: Path | None
    baseline: Path | None
    annotate: bool
    via: str
    token: str  # the runner's operate token; "" without --via
    since: str

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> GateOptions:
        """From click's; ends the command with exit 2 where two contradict each other."""
        from judge.verdict import Outcome
        from probes.fields import split_url
        from runner.gate.settings import GateSettings

        if options["expect_revision"] is not None and not options["expect_revision"].strip():
            unusable("--expect-revision is empty: is its variable set? Leave the option out to accept any revision")
        if options["for"] is not None and options["rounds"] is not None:
            unusable("give either --rounds or --for")
        via = options["via"]
        if via and options["save"]:
            unusable("--save can't be used with --via: the runner already has the runs before the deployment")
        if via:
            try:
                split_url(via, example="http://127.0.0.1:9797")
            except ValueError as error:
                unusable(f"--via {error}")  # without its value, which may hold a password
        if options["fail_on_slower"] is not None and options["baseline"] is None and not via:
            unusable("--fail-on-slower needs a --baseline")
        if options["since"] and not via:
            unusable("--since needs --via")
        given = {name: options[name] for name in _SETTINGS if options[name] is not None}
        return cls(
            settings=GateSettings.model_validate(given),
            inconclusive=Outcome(options["inconclusive"]) if options["inconclusive"] else None,
            token=_read_token(options["token_file"]) if via else "",
            **{name: options[name] for name in ("save", "baseline", "annotate", "via", "since")},
        )


def _read_token(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text("utf-8").strip()
        except OSError as error:
            unusable(f"--token-file {file}: {error.strerror or error}")
    token = os.environ.get("OPERATE_TOKEN", "").strip()
    return token or unusable("--via needs the runner's operate token: --token-file FILE, or $OPERATE_TOKEN")
