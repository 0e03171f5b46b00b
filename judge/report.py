"""The result of a gate as one record: every report is written from it, whoever carried the gate out.

It goes to JSON and back without loss, so that a gate which another runner carried out (`--via`) gives the very same reports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from judge.observation import Observation, beside
from judge.proof import Proof
from judge.revision import brief
from judge.verdict import Decision, Finding, JudgedCheck, Outcome, Run, Runs
from probes.core import Reason, Verdict
from probes.text import count, iso


@dataclass(frozen=True, slots=True)
class SloRow:
    """One SLO of one check. Shares are numbers from 0 to 1; `needed` runs would prove it, None where no number would."""

    objective: float
    threshold: float | None  # seconds
    good: int
    total: int
    lower: float
    upper: float
    state: str  # met, breached or undecided
    needed: int | None
    sentence: str


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check as it was judged. `flaky` says what failed and passed at once when asked again; `seconds` is the time of all its runs."""

    check: str
    kind: str
    line: int
    required: bool
    verdict: Outcome
    reason: str
    message: str
    runs: int
    passed: int
    unknown: int
    strays: int
    seconds: float
    flaky: tuple[str, ...] = ()
    finding: str = ""
    trace_id: str = ""
    slo: Mapping[str, SloRow] | None = None
    file: str = ""  # as judge.observation.Check has it

    @property
    def counts_against(self) -> bool:
        """Whether its outcome counts for the verdict and isn't a pass."""
        return self.required and self.verdict is not Outcome.PASS

    @property
    def why(self) -> str:
        """`status: 503, expected 200`."""
        return ": ".join(part for part in (self.reason, self.message) if part)


@dataclass(frozen=True, slots=True)
class Report:
    """A gate's verdict with everything that a reader may want. Times in seconds since the epoch; no secret in any of its texts."""

    verdict: Outcome
    reasons: tuple[Finding, ...]  # of the verdict, the gravest first
    notes: tuple[Finding, ...]  # what is worth knowing besides
    checks: tuple[CheckRow, ...]
    started: float
    finished: float
    revision: str = ""  # the one expected; "": any
    preamble: tuple[str, ...] = ()  # what came before the judgement: what was waited for, what the answers in a row prove
    file: str = "checks.yaml"
    service: str = ""
    environment: str = ""

    @property
    def runs(self) -> int:
        """Judged runs of all checks."""
        return sum(row.runs + row.strays for row in self.checks)

    @property
    def loose(self) -> tuple[Finding, ...]:
        """The reasons that no check's own outcome tells: of no check, or of one that passed and is slower than before."""
        explained = {row.check for row in self.checks if row.verdict is not Outcome.PASS}
        return tuple(reason for reason in self.reasons if reason.check not in explained)

    def file_of(self, found: Finding | CheckRow) -> str:
        """The file that the check of a row or a finding stands in, from where `file` is named."""
        return beside(self.file, next((row.file for row in self.checks if row.check == found.check), ""))

    def place(self, found: Finding | CheckRow) -> str:
        """`checks.yaml:14`."""
        return f"{self.file_of(found)}:{found.line}"

    @property
    def headline(self) -> str:
        """`smoke gate of 3f2c91a: 6 checks, 18 runs in 11 s`."""
        of = f" of {brief(self.revision)}" if self.revision else ""
        return f"smoke gate{of}: {count(len(self.checks), 'check')}, {count(self.runs, 'run')} in {self.finished - self.started:.0f} s"


def report(
    decision: Decision,
    runs: Sequence[Runs],
    *,
    started: float,
    finished: float,
    revision: str = "",
    preamble: Sequence[str] = (),
    file: str = "checks.yaml",
    service: str = "",
    environment: str = "",
) -> Report:
    """The record of a decision and of the runs that it judged."""
    by_name = {one.check.name: one.runs for one in runs}
    rows = tuple(_row(judged, by_name.get(judged.check.name, ())) for judged in decision.checks)
    return Report(
        decision.outcome, decision.reasons, decision.notes, rows, started, finished, revision, tuple(preamble), file, service, environment
    )


def _row(judged: JudgedCheck, runs: Sequence[Run]) -> CheckRow:
    check, seen = judged.check, judged.cause if isinstance(judged.cause, Observation) else None
    return CheckRow(
        check=check.name,
        kind=check.kind,
        line=check.line,
        file=check.file,
        required=check.required,
        verdict=judged.outcome,
        reason=str(seen.reason or "") if seen else "",
        message=seen.message if seen and seen.reason else judged.text,
        runs=judged.runs,
        passed=judged.passed,
        unknown=judged.unknown,
        strays=judged.strays,
        seconds=sum(o.seconds for run in runs for o in run.attempts),
        flaky=tuple(f"{o.reason or ''}: {o.message}" for run in runs if run.flaky for o in run.attempts if o.verdict is Verdict.FAIL),
        finding=seen.finding if seen else "",
        trace_id=seen.trace_id if seen else "",
        slo={proof.slo.name: _slo(proof) for proof in judged.proofs},
    )


def _slo(proof: Proof) -> SloRow:
    state = "breached" if proof.broken else "met" if proof.holds else "undecided"
    objective, threshold = float(proof.slo.objective), proof.slo.threshold
    return SloRow(objective, threshold, proof.good, proof.total, proof.lower, proof.upper, state, proof.needed, proof.sentence())


def to_json(given: Report) -> dict[str, Any]:
    """The object of `outrider gate --json`, with the keys that users script against (HOUSE, section 4), and a few more."""
    data = asdict(given)
    data["verdict"] = str(given.verdict)
    data["started"], data["finished"] = iso(given.started, "microseconds"), iso(given.finished, "microseconds")
    data["reasons"] = [_finding_row(one) for one in given.reasons]
    data["notes"] = [_finding_row(one) for one in given.notes]
    data["preamble"] = list(given.preamble)
    for row in data["checks"]:
        row["verdict"], row["reason"], row["flaky"] = str(row["verdict"]), row["reason"] or None, list(row["flaky"])
        row["seconds"], row["slo"] = round(row["seconds"], 6), row["slo"] or {}
    data["checks"] = list(data["checks"])
    return data


def _finding_row(found: Finding) -> dict[str, Any]:
    return {"verdict": str(found.outcome), "text": found.text, "check": found.check or None, "line": found.line or None}


def from_json(data: Mapping[str, Any]) -> Report:
    """The record of such an object. Raises ValueError, KeyError or TypeError for what is none."""
    same = {name: data[name] for name in ("revision", "file", "service", "environment")}
    return Report(
        verdict=Outcome(data["verdict"]),
        reasons=tuple(_finding(row) for row in data["reasons"]),
        notes=tuple(_finding(row) for row in data["notes"]),
        checks=tuple(_check_row(row) for row in data["checks"]),
        started=datetime.fromisoformat(data["started"]).timestamp(),
        finished=datetime.fromisoformat(data["finished"]).timestamp(),
        preamble=tuple(data["preamble"]),
        **same,
    )


def _finding(row: Mapping[str, Any]) -> Finding:
    return Finding(Outcome(row["verdict"]), row["text"], row["check"] or "", row["line"] or 0)


def _check_row(row: Mapping[str, Any]) -> CheckRow:
    slo = {name: SloRow(**values) for name, values in row["slo"].items()}
    changed = {"verdict": Outcome(row["verdict"]), "reason": row["reason"] or "", "flaky": tuple(row["flaky"]), "slo": slo}
    return CheckRow(**{**row, **changed})


def redacted(given: Report, redact: Callable[[str], str]) -> Report:
    """The same with every text that came from outside redacted: the revision that a target tells may be a secret, too."""

    def findings(found: Sequence[Finding]) -> tuple[Finding, ...]:
        return tuple(replace(one, text=redact(one.text)) for one in found)

    return replace(
        given,
        reasons=findings(given.reasons),
        notes=findings(given.notes),
        checks=tuple(
            replace(row, message=redact(row.message), finding=redact(row.finding), flaky=tuple(map(redact, row.flaky)))
            for row in given.checks
        ),
        revision=redact(given.revision),
        preamble=tuple(map(redact, given.preamble)),
    )


def could_not_run(row: CheckRow) -> bool:
    """Whether the check itself broke; an inconclusive check may also be one whose target could not be reached."""
    return row.verdict is Outcome.INCONCLUSIVE and row.reason == Reason.INTERNAL
