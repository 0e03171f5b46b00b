"""The gate's decision: what the runs of a release say of it. Pure: records in, a verdict with its reasons out.

- A functional failure of a required check fails. One that failed and passed at once when asked again is flaky: passed, and
  reported so. An optional check is reported and colours nothing.
- Latency fails only on a proven breach; what so few runs can't decide is said and colours nothing, unless every SLO is
  required to be proven.
- Nothing run, a run that can't tell, an answer of another revision, an interruption: inconclusive, never pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from judge.observation import Check, Observation, Slo
from judge.proof import Proof, prove
from judge.slo import event
from probes.core import Verdict

NOT_RUN = "was not run"
_SHORTEST = 7  # signs of a shortened revision


class Outcome(StrEnum):
    """What a gate, a load run or a drill says in the end."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        """0 for pass, 1 for fail, 3 for inconclusive (2 is usage and configuration)."""
        return {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 3}[self]

    def exit_code_as(self, inconclusive: Outcome | None) -> int:
        """The exit code for callers that know two colours: `--inconclusive fail|pass`."""
        return (inconclusive if self is Outcome.INCONCLUSIVE and inconclusive else self).exit_code


def combined(outcomes: Iterable[Outcome]) -> Outcome:
    """Of several: fail before inconclusive before pass. Of none: inconclusive."""
    seen = set(outcomes)
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS):
        if outcome in seen:
            return outcome
    return Outcome.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Rules:
    """How strictly to judge: the confidence of a proven breach, and whether each SLO must be proven to hold."""

    confidence: float = 0.95
    require_slo: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One judged run of a check: its attempts in order (more than one where it was confirmed), and who answered.

    `revision` is what the answer carried, or what was read beside it; "" where nothing tells it.
    """

    attempts: tuple[Observation, ...]
    revision: str = ""

    def __post_init__(self) -> None:
        if not self.attempts:
            raise ValueError("a run has at least one attempt")

    @property
    def verdict(self) -> Verdict:
        """The last attempt that can tell: a failure that a confirmation can't judge stands."""
        told = [o.verdict for o in self.attempts if o.verdict is not Verdict.UNKNOWN]
        return told[-1] if told else Verdict.UNKNOWN

    @property
    def flaky(self) -> bool:
        """Failed, and passed at once when asked again."""
        return self.verdict is Verdict.PASS and any(o.verdict is Verdict.FAIL for o in self.attempts)

    @property
    def counted(self) -> Observation:
        """The attempt that counts for SLOs: the one that decided. A flaky run has passed, so that no SLO may fail it either."""
        return next((o for o in reversed(self.attempts) if o.verdict is not Verdict.UNKNOWN), self.attempts[0])


@dataclass(frozen=True, slots=True)
class Runs:
    """One check's judged runs (the warm-up isn't among them), and how many more are to come."""

    check: Check
    runs: tuple[Run, ...] = ()
    remaining: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason of the verdict, or a note that colours nothing (`outcome` pass): a sentence, the check and its line of checks.yaml."""

    outcome: Outcome
    text: str
    check: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """One check as it was judged: `outcome` is its own, also where it is optional. `runs` counts those of the right revision."""

    check: Check
    outcome: Outcome
    text: str
    runs: int
    passed: int
    flaky: int
    unknown: int
    strays: int
    failure: Observation | None
    proofs: tuple[Proof, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict, what coloured it (`reasons`), what is worth knowing besides (`notes`), and every check."""

    outcome: Outcome
    reasons: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    checks: tuple[Judged, ...]


def decide(
    checks: Sequence[Runs],
    rules: Rules = Rules(),
    *,
    revision: str = "",
    also: Sequence[Finding] = (),
    interrupted: bool = False,
) -> Decision:
    """Judges what has been run so far.

    `revision` is the one expected ("": any). `also` are findings made elsewhere (never ready, slower than its baseline, the
    runner was cut off): those of outcome pass become notes. Never raises, whatever is missing.
    """
    judged = _judged(checks, rules, revision)
    found = [*also]
    for one in judged:
        found += _findings(one, rules)
    if not any(one.runs for one in judged):
        found.append(Finding(Outcome.INCONCLUSIVE, "nothing was run" if not checks else "no run was judged"))
    if interrupted:
        done, planned = sum(len(c.runs) for c in checks), sum(len(c.runs) + c.remaining for c in checks)
        found.append(Finding(Outcome.INCONCLUSIVE, f"interrupted after {done} of {planned} runs"))
    colouring = tuple(f for f in found if f.outcome is not Outcome.PASS)
    outcome = combined(f.outcome for f in colouring) if colouring else Outcome.PASS
    order = {Outcome.FAIL: 0, Outcome.INCONCLUSIVE: 1}
    return Decision(
        outcome,
        tuple(sorted(colouring, key=lambda f: order[f.outcome])),
        tuple(f for f in found if f.outcome is Outcome.PASS),
        judged,
    )


def can_change(checks: Sequence[Runs], rules: Rules = Rules(), *, revision: str = "") -> bool:
    """Whether the runs to come may still change the verdict: only where they can't may a gate stop early.

    Fail is final where a required check has failed functionally, or a breach stays proven even if all that comes is good.
    Stopping earlier than that would look at the same data again and again, and find a breach by chance sooner or later.
    """
    if not any(c.remaining for c in checks if c.check.required):
        return False
    if any(run.verdict is Verdict.FAIL for c in checks if c.check.required for run in _ours(c, revision)[0]):
        return False
    best = prove([(c, s, good + more, total + more) for c, s, good, total, more in _counted(checks, revision)], rules.confidence)
    return not any(proof.broken and proof.check.required for proof in best)


def same_revision(one: str, other: str) -> bool:
    """Whether two revisions are the same, one of them shortened to no fewer than seven signs perhaps, as git writes them."""
    short, long = sorted((one.strip().lower(), other.strip().lower()), key=len)
    return short == long or (len(short) >= _SHORTEST and long.startswith(short))


def _ours(check: Runs, revision: str) -> tuple[list[Run], list[Run]]:
    """The runs that say something of the expected revision, and those that another one answered."""
    ours: list[Run] = []
    strays: list[Run] = []
    for run in check.runs:
        stray = revision and run.revision and not same_revision(run.revision, revision)
        (strays if stray else ours).append(run)
    return ours, strays


def _counted(checks: Sequence[Runs], revision: str) -> list[tuple[Check, Slo, int, int, int]]:
    """Check, SLO, good events, events and runs to come, for every SLO of every check."""
    counted = []
    for check in checks:
        counting = [run.counted for run in _ours(check, revision)[0]]
        for slo in check.check.slos:
            events = [good for o in counting if (good := event(o, slo)) is not None]
            counted.append((check.check, slo, sum(events), len(events), check.remaining))
    return counted


def _judged(checks: Sequence[Runs], rules: Rules, revision: str) -> tuple[Judged, ...]:
    proofs = prove([(c, s, good, total) for c, s, good, total, _ in _counted(checks, revision)], rules.confidence)
    by_check: dict[str, list[Proof]] = {}
    for proof in proofs:
        by_check.setdefault(proof.check.name, []).append(proof)
    return tuple(_judge(c, tuple(by_check.get(c.check.name, ())), rules, revision) for c in checks)


def _judge(check: Runs, proofs: tuple[Proof, ...], rules: Rules, revision: str) -> Judged:
    ours, strays = _ours(check, revision)
    failure = next((_last(run, Verdict.FAIL) for run in ours if run.verdict is Verdict.FAIL), None)
    outcome, text = _outcome(ours, strays, proofs, rules)
    return Judged(
        check.check,
        outcome,
        text,
        len(ours),
        sum(run.verdict is Verdict.PASS for run in ours),
        sum(run.flaky for run in ours),
        sum(run.verdict is Verdict.UNKNOWN for run in ours),
        len(strays),
        failure,
        proofs,
    )


def _outcome(ours: Sequence[Run], strays: Sequence[Run], proofs: Sequence[Proof], rules: Rules) -> tuple[Outcome, str]:
    """The table, from the top: the first row that applies."""
    failures = [run for run in ours if run.verdict is Verdict.FAIL]
    unknown = [run for run in ours if run.verdict is Verdict.UNKNOWN]
    broken = [proof for proof in proofs if proof.broken]
    wanting = [proof for proof in proofs if rules.require_slo and not proof.holds]
    rows: tuple[tuple[object, Outcome, Callable[[], str]], ...] = (
        (failures, Outcome.FAIL, lambda: _told(failures[0], Verdict.FAIL)),
        (broken, Outcome.FAIL, lambda: broken[0].sentence()),  # noqa: PLW0108 - there may be none
        (strays, Outcome.INCONCLUSIVE, lambda: _astray(strays, len(ours) + len(strays))),
        (unknown, Outcome.INCONCLUSIVE, lambda: _told(unknown[0], Verdict.UNKNOWN)),
        (not ours, Outcome.INCONCLUSIVE, lambda: NOT_RUN),
        (wanting, Outcome.INCONCLUSIVE, lambda: wanting[0].sentence()),  # noqa: PLW0108 - as above
    )
    return next(((outcome, text()) for applies, outcome, text in rows if applies), (Outcome.PASS, ""))


def _told(run: Run, verdict: Verdict) -> str:
    """What the last attempt with this verdict said: `status: 503, expected 200`."""
    observation = _last(run, verdict)
    return ": ".join(part for part in (str(observation.reason or ""), observation.message) if part) or str(verdict)


def _last(run: Run, verdict: Verdict) -> Observation:
    return next(o for o in reversed(run.attempts) if o.verdict is verdict)


def _astray(strays: Sequence[Run], runs: int) -> str:
    names = sorted({run.revision for run in strays})
    addresses = sorted({str(o.facts["ip"]) for run in strays for o in run.attempts if o.facts.get("ip")})
    where = f" from {', '.join(addresses)}" if addresses else ""
    return f"revision {', '.join(names)} answered {len(strays)} of {runs} runs{where}"


def _findings(judged: Judged, rules: Rules) -> list[Finding]:
    """What one check adds: its outcome, and what is worth knowing besides. Nothing of an optional check colours the verdict."""
    check = judged.check
    sentences = {proof.sentence(): _of_proof(proof, rules) for proof in judged.proofs}
    told: dict[str, Outcome] = {}
    if judged.outcome is not Outcome.PASS:
        told[judged.text if judged.text in sentences else f"{check.name}: {judged.text}"] = judged.outcome
    if judged.outcome is Outcome.FAIL and judged.strays:
        told[f"{check.name}: {judged.strays} more runs were answered by another revision"] = Outcome.INCONCLUSIVE
    if judged.flaky:
        told[f"{check.name} is flaky: {judged.flaky} of {judged.runs} runs failed, and passed on an immediate retry"] = Outcome.PASS
    told |= {text: outcome for text, outcome in sentences.items() if text not in told}
    aside = "" if check.required else " (optional)"
    return [Finding(outcome if check.required else Outcome.PASS, text + aside, check.name, check.line) for text, outcome in told.items()]


def _of_proof(proof: Proof, rules: Rules) -> Outcome:
    if proof.broken:
        return Outcome.FAIL
    return Outcome.INCONCLUSIVE if rules.require_slo and not proof.holds else Outcome.PASS
