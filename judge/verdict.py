"""The gate's decision about a release, from its runs. Pure: records in, a verdict with its reasons out.

- A functional failure of a required check fails the gate. A check that failed and passed at once when asked again is flaky: it has
  passed, and the report says so. An optional check is reported and doesn't count.
- Latency fails the gate only on a proven breach. What so few runs can't decide is reported and doesn't count, unless every SLO must
  be proven.
- No required check judged, a run that can't tell, an answer of another revision, an interruption: inconclusive, never pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from judge.observation import Check, Observation, Slo
from judge.proof import Proof, prove, undecided_sentence
from judge.revision import same_revision
from judge.slo import count_events
from probes.core import Verdict
from probes.text import count

NOT_RUN = "was not run"
_SHOWN = 4  # revisions that a sentence names


class Outcome(StrEnum):
    """The result of a gate, a load run or a drill."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        """0 for pass, 1 for fail, 3 for inconclusive (2 is usage and configuration)."""
        return {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 3}[self]

    def exit_code_as(self, inconclusive: Outcome | None) -> int:
        """The exit code for callers that know only pass and fail: `--inconclusive fail|pass`."""
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
    """One judged run of a check: its attempts in order (more than one where it was confirmed), and which revision answered.

    `revision` is what the answer carried, or what was read beside it; "" where nothing tells it.
    """

    attempts: tuple[Observation, ...]
    revision: str = ""

    def __post_init__(self) -> None:
        if not self.attempts:
            raise ValueError("a run has at least one attempt")

    @property
    def verdict(self) -> Verdict:
        """That of the last attempt that isn't unknown: a failure stands where a re-check could tell nothing."""
        known = [o.verdict for o in self.attempts if o.verdict is not Verdict.UNKNOWN]
        return known[-1] if known else Verdict.UNKNOWN

    @property
    def flaky(self) -> bool:
        """Failed, and passed at once when asked again."""
        return self.verdict is Verdict.PASS and any(o.verdict is Verdict.FAIL for o in self.attempts)

    @property
    def counted(self) -> Observation:
        """The attempt that counts for SLOs: the one that decided. A flaky run has passed, so that no SLO fails it either."""
        return next((o for o in reversed(self.attempts) if o.verdict is not Verdict.UNKNOWN), self.attempts[0])


@dataclass(frozen=True, slots=True)
class Runs:
    """One check's judged runs (the warm-up isn't among them), and how many more are to come."""

    check: Check
    runs: tuple[Run, ...] = ()
    remaining: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason of the verdict, or a note that doesn't count (`outcome` pass): a sentence, the check and its line of checks.yaml."""

    outcome: Outcome
    text: str
    check: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class JudgedCheck:
    """One check as it was judged: `outcome` is its own, also where it is optional. `runs` counts those of the right revision.

    `cause` is what the outcome and its text speak of: a run's observation, a proof, or None where neither decided.
    """

    check: Check
    outcome: Outcome
    text: str
    cause: Observation | Proof | None
    runs: int
    passed: int
    flaky: int
    unknown: int
    strays: int
    proofs: tuple[Proof, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict, its reasons, what is worth knowing besides (`notes`), and every check."""

    outcome: Outcome
    reasons: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    checks: tuple[JudgedCheck, ...]


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
    proofs = prove([(c, s, good, total) for c, s, good, total, _ in _count_events(checks, revision)], rules.confidence)
    judged = tuple(_judge(check, tuple(p for p in proofs if p.check == check.check), rules, revision) for check in checks)
    found = [*also]
    clean = [] if rules.require_slo else [p for one in judged for p in one.proofs if not p.decided and p.good == p.total > 0]
    for one in judged:
        found += _findings(one, rules, elsewhere=clean if len(clean) > 1 else ())
    if len(clean) > 1:
        found.append(Finding(Outcome.PASS, undecided_sentence(clean)))
    if not revision:
        found += [Finding(Outcome.PASS, text) for text in _revisions_by_turns(checks)]
    if not any(one.runs for one in judged if one.check.required):
        optional = "; every selected check is gate: optional" if checks and not any(c.check.required for c in checks) else ""
        found.append(Finding(Outcome.INCONCLUSIVE, f"no required check was judged{optional}" if checks else "nothing was run"))
    if interrupted:
        done, planned = sum(len(c.runs) for c in checks), sum(len(c.runs) + c.remaining for c in checks)
        found.append(Finding(Outcome.INCONCLUSIVE, f"interrupted after {done} of {planned} runs"))
    reasons = tuple(f for f in found if f.outcome is not Outcome.PASS)
    outcome = combined(f.outcome for f in reasons) if reasons else Outcome.PASS
    order = {Outcome.FAIL: 0, Outcome.INCONCLUSIVE: 1}
    return Decision(
        outcome,
        tuple(sorted(reasons, key=lambda f: order[f.outcome])),
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
    best = prove([(c, s, good + more, total + more) for c, s, good, total, more in _count_events(checks, revision)], rules.confidence)
    return not any(proof.broken and proof.check.required for proof in best)


def _ours(check: Runs, revision: str) -> tuple[list[Run], list[Run]]:
    """The runs of the expected revision (or of none that is known), and those that another one answered."""
    ours: list[Run] = []
    strays: list[Run] = []
    for run in check.runs:
        stray = revision and run.revision and not same_revision(run.revision, revision)
        (strays if stray else ours).append(run)
    return ours, strays


def _count_events(checks: Sequence[Runs], revision: str) -> list[tuple[Check, Slo, int, int, int]]:
    """Check, SLO, good events, events and runs to come, for every SLO of every check."""
    counted = []
    for check in checks:
        counts: Mapping[str, tuple[int, int]] = {}
        for run in _ours(check, revision)[0]:
            counts = count_events(run.counted, check.check.slos, counts)
        for slo in check.check.slos:
            events, good = counts.get(slo.name, (0, 0))
            counted.append((check.check, slo, good, events, check.remaining))
    return counted


def _judge(check: Runs, proofs: tuple[Proof, ...], rules: Rules, revision: str) -> JudgedCheck:
    ours, strays = _ours(check, revision)
    outcome, text, cause = _outcome(ours, strays, proofs, rules)
    return JudgedCheck(
        check.check,
        outcome,
        text,
        cause,
        runs=len(ours),
        passed=sum(run.verdict is Verdict.PASS for run in ours),
        flaky=sum(run.flaky for run in ours),
        unknown=sum(run.verdict is Verdict.UNKNOWN for run in ours),
        strays=len(strays),
        proofs=proofs,
    )


def _outcome(
    ours: Sequence[Run], strays: Sequence[Run], proofs: Sequence[Proof], rules: Rules
) -> tuple[Outcome, str, Observation | Proof | None]:
    """The table, from the top: the first case that applies; its outcome, its text, and what the text speaks of."""
    if failure := _last(ours, Verdict.FAIL):
        return Outcome.FAIL, _run_text(failure), failure
    if broken := next((proof for proof in proofs if proof.broken), None):
        return Outcome.FAIL, broken.sentence(), broken
    if strays or not ours:
        return Outcome.INCONCLUSIVE, _strays_text(strays, len(ours) + len(strays)) if strays else NOT_RUN, None
    if unknown := _last(ours, Verdict.UNKNOWN):
        return Outcome.INCONCLUSIVE, _run_text(unknown), unknown
    if rules.require_slo and (unproven := next((proof for proof in proofs if not proof.holds), None)):
        return Outcome.INCONCLUSIVE, unproven.sentence(), unproven
    return Outcome.PASS, "", None


def _last(runs: Sequence[Run], verdict: Verdict) -> Observation | None:
    """Of the first run with this verdict, the last attempt with it."""
    return next((o for run in runs if run.verdict is verdict for o in reversed(run.attempts) if o.verdict is verdict), None)


def _run_text(observation: Observation) -> str:
    """`status: 503, expected 200`."""
    return ": ".join(part for part in (str(observation.reason or ""), observation.message) if part) or str(observation.verdict)


def _strays_text(strays: Sequence[Run], runs: int) -> str:
    names = sorted({run.revision for run in strays})
    addresses = sorted({str(o.facts["ip"]) for run in strays for o in run.attempts if o.facts.get("ip")})
    where = f" from {', '.join(addresses)}" if addresses else ""
    return f"revision {', '.join(names)} answered {len(strays)} of {runs} runs{where}"


def _revisions_by_turns(checks: Sequence[Runs]) -> list[str]:
    """Where none is expected: the targets whose runs were answered by several revisions."""
    answered: dict[str, Counter[str]] = {}
    for check in checks:
        if not check.check.part_of:
            for run in check.runs:
                answered.setdefault(check.check.target, Counter()).update(filter(None, run.revision.split(", ")))
    texts = []
    for target, revisions in answered.items():
        first, *others = [*revisions] or [""]
        if any(not same_revision(first, other) for other in others):
            runs = ", ".join(f"{name} ({count(number, 'run')})" for name, number in revisions.most_common(_SHOWN))
            texts.append(f"{target} responded with {len(revisions)} revisions by turns: {runs}; --expect-revision would judge one of them")
    return texts


def _findings(judged: JudgedCheck, rules: Rules, *, elsewhere: Collection[Proof]) -> list[Finding]:
    """What one check adds: its outcome, and what is worth knowing besides. For an optional check, all of it is notes.

    `elsewhere` are proofs that stand in one line for all checks.
    """
    check = judged.check
    found: list[tuple[Outcome, str]] = []
    if judged.outcome is not Outcome.PASS:
        found.append((judged.outcome, judged.text if isinstance(judged.cause, Proof) else f"{check.name}: {judged.text}"))
    if judged.outcome is Outcome.FAIL and judged.strays:
        found.append((Outcome.INCONCLUSIVE, f"{check.name}: {judged.strays} more runs were answered by another revision"))
    if judged.flaky:
        text = f"{check.name} is flaky: {judged.flaky} of {judged.runs} runs failed, and passed on an immediate retry"
        found.append((Outcome.PASS, text))
    for proof in judged.proofs:
        if proof is not judged.cause and proof not in elsewhere:
            unproven = Outcome.INCONCLUSIVE if rules.require_slo and not proof.holds else Outcome.PASS
            found.append((Outcome.FAIL if proof.broken else unproven, proof.sentence()))
    aside = "" if check.required else " (optional)"
    return [Finding(outcome if check.required else Outcome.PASS, text + aside, check.name, check.line) for outcome, text in found]
