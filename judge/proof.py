"""What so few runs prove of an SLO: that it is broken, that it holds, or neither, and then how many runs it would take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from judge.intervals import at_least, at_most, holm, lower_bound, runs_needed, upper_bound
from judge.observation import Check, Slo
from probes.text import exact, listed

_NAMED = 4  # checks that a sentence names


@dataclass(frozen=True, slots=True)
class Proof:
    """One SLO of one check, judged on exactly counted events.

    `breach` is the chance of so few good events if the objective were just met, adjusted for the family of all SLOs judged
    together (Holm); the breach is proven where it is at most 1 - confidence. `holds` needs no such correction: a gate that
    requires all to hold errs only where each of them errs. `lower` and `upper` are one-sided bounds of the true share.
    `needed` is the number of runs, with as many bad ones as there are, that would prove the objective; None where none would.
    """

    check: Check
    slo: Slo
    good: int
    total: int
    breach: float
    broken: bool
    holds: bool
    confidence: float

    @property
    def lower(self) -> float:
        """The share that the truth exceeds with this confidence."""
        return lower_bound(self.good, self.total, self.confidence)

    @property
    def upper(self) -> float:
        """The share that the truth stays below with this confidence."""
        return upper_bound(self.good, self.total, self.confidence)

    @property
    def needed(self) -> int | None:
        """How many runs, with as many bad ones as there are, would prove the objective; None where no number does."""
        return runs_needed(self.slo.objective, self.confidence, self.total - self.good)

    @property
    def decided(self) -> bool:
        """Whether the runs prove anything of this SLO."""
        return self.broken or self.holds

    def sentence(self) -> str:
        """For a person: `p95 of api: 18 of 18 within 500 ms; not decidable with fewer than 59 runs`."""
        if self.total == 0:
            return f"{self._subject()}: no run counted; {self._wanting()}"
        counted = f"{self._subject()}: {self.good:,} of {self.total:,} {self._quality()}"
        if self.decided:
            # Bounds are rounded outwards: they must not promise more than was proven.
            most, least = math.ceil(self.upper * 1000) / 10, math.floor(self.lower * 1000) / 10
            side = f"at most {most:.1f} %" if self.broken else f"at least {least:.1f} %"
            proven = f"({share(self.good / self.total)}, {side} with {self.confidence * 100:.10g} % confidence)"
            return f"{counted} {proven}; {f'breached: {self._objective()} needed' if self.broken else 'met'}"
        return f"{counted}; {self._wanting()}"

    def _wanting(self) -> str:
        if self.needed is None:
            return f"no number of runs can prove {self._objective()}"
        clean = "" if self.good == self.total else f", at most {self.total - self.good} of them bad"
        return f"not decidable with fewer than {self.needed:,} runs{clean}"

    def _subject(self) -> str:
        return f"{self.slo.name} of {self.check.name}"

    def _objective(self) -> str:
        return f"{float(self.slo.objective) * 100:.10g} %"

    def _quality(self) -> str:
        if self.slo.threshold is None:
            return "good"
        limit = self.slo.threshold
        return f"within {exact(limit)}"


def undecided_sentence(proofs: Sequence[Proof]) -> str:
    """One line for several SLOs without a miss that so few runs can't decide: by SLO, with its checks and the runs that it takes."""
    checks: dict[tuple[str, int | None], list[str]] = {}
    for proof in proofs:
        checks.setdefault((proof.slo.name, proof.needed), []).append(proof.check.name)
    wanting = (
        f"{slo} of {listed(names, _NAMED)} ({'no number of runs can' if needed is None else f'{needed:,} runs needed'})"
        for (slo, needed), names in checks.items()
    )
    return f"all good so far, but not decidable with so few runs: {', '.join(wanting)}"


def prove(counted: Sequence[tuple[Check, Slo, int, int]], confidence: float = 0.95) -> tuple[Proof, ...]:
    """Judges a family of (check, slo, good, total) together, in its own order."""
    proofs = [_alone(check, slo, good, total, confidence) for check, slo, good, total in counted]
    adjusted = holm([proof.breach for proof in proofs])
    return tuple(
        replace(proof, breach=chance, broken=proof.total > 0 and chance <= 1.0 - confidence)
        for proof, chance in zip(proofs, adjusted, strict=True)
    )


def _alone(check: Check, slo: Slo, good: int, total: int, confidence: float) -> Proof:
    objective = float(slo.objective)
    return Proof(
        check,
        slo,
        good,
        total,
        breach=at_most(good, total, objective) if total else 1.0,
        broken=False,
        holds=total > 0 and objective < 1.0 and at_least(good, total, objective) <= 1.0 - confidence,
        confidence=confidence,
    )


def share(value: float) -> str:
    """A share as a percentage with one digit: 96.7 %."""
    return f"{value * 100:.1f} %"
