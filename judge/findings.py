"""Where to look next after a failure, in words: from what other checks measured, and from the trials of a diagnosis.

Pure: records in, sentences out. A finding changes no verdict. Each trial did one thing differently from the run that failed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

from judge.observation import Observation
from probes.core import Reason, Verdict
from probes.text import listed

TLS = frozenset({Reason.EXPIRED, Reason.NOT_YET_VALID, Reason.HOSTNAME, Reason.UNTRUSTED, Reason.CHAIN, Reason.TLS})
_ONE = {Reason.REFUSED: "refuses", Reason.UNREACHABLE: "can't be reached", Reason.RESET: "resets", Reason.TIMEOUT: "doesn't respond"}
_MANY = {Reason.REFUSED: "refuse", Reason.UNREACHABLE: "can't be reached", Reason.RESET: "reset", Reason.TIMEOUT: "don't respond"}
_LISTED = 3  # addresses or checks that a sentence names

# What other checks measured


def finding(observation: Observation, latest: Mapping[str, Observation], hanging: Collection[str] | None = None) -> str:
    """What the latest observations of other checks say of this one, in a sentence; empty where they say nothing.

    `hanging` are the checks of `latest` that hang (`hangs`): who asks for many observations looks for them once. An outage that many
    checks share is told with three of their names and a count, so that neither the text nor the work grows with their number.
    """
    check, texts = observation.check, list[str]()
    if observation.reason is Reason.TIMEOUT:
        if hanging is None:
            hanging = [other.check.name for other in latest.values() if hangs(other)]
        names = [name for name in islice(hanging, _LISTED + 1) if name != check.name][:_LISTED]
        more = len(hanging) - (check.name in hanging) - len(names)
        if names:
            each = "accepts but doesn't" if len(names) == 1 else "accept but don't"
            texts.append(f"{_and_more(names, more)} {each} answer")
    if observation.verdict is Verdict.FAIL:
        above = [latest[parent] for parent in check.depends_on if parent in latest]
        failing = [one.check.name for one in above if one.verdict is Verdict.FAIL and not hangs(one)]
        texts += [f"shares the failure of {_and_more(failing[:_LISTED], len(failing) - _LISTED)}"] if failing else []
    if same := latest.get(check.compare_with):  # the check that measures the same by itself
        comparison = {
            (Verdict.FAIL, Verdict.FAIL): f"{same.check.name} fails too",
            (Verdict.FAIL, Verdict.PASS): f"disagrees with {same.check.name}, which passes",
            (Verdict.PASS, Verdict.FAIL): f"disagrees with {same.check.name}, which fails",
        }.get((observation.verdict, same.verdict))
        texts += [comparison] if comparison else []
    return "; ".join(dict.fromkeys(texts))


def hangs(other: Observation) -> bool:
    """A service behind the application that takes connections and then says nothing: a stopped process, not a dead one."""
    return _was_silent(other) and not other.check.target and not other.check.part_of


def _was_silent(seen: Observation) -> bool:
    """Whether the run had connected, and timed out before anything came back."""
    names = list(seen.phases)
    connected = seen.reason is Reason.TIMEOUT and "connect" in names
    return connected and not seen.responded and len(names) - names.index("connect") <= 2  # noqa: PLR2004 - one phase is under way


def _and_more(names: list[str], more: int) -> str:
    return f"{', '.join(names)} and {more:,} more" if more > 0 else listed(names)


# What a diagnosis tried


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """How one trial ended. `reason` is None where it went well; `status` of an HTTP response, good or bad."""

    reason: Reason | None = None
    status: int | None = None
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.reason is None

    def __str__(self) -> str:
        if self.ok:
            return _does(self) if self.status is not None else "succeeded"
        return f"{self.reason}: {self.message}" if self.message else str(self.reason)


@dataclass(frozen=True, slots=True)
class Trials:
    """What was tried, as far as the kind and the limits allow. By address: the connection alone, and the whole request."""

    connected: Mapping[str, TrialOutcome] = field(default_factory=dict)
    asked: Mapping[str, TrialOutcome] = field(default_factory=dict)
    unverified: TrialOutcome | None = None  # without verifying the certificate: the whole, or (`handshake_only`) the handshake alone
    handshake_only: bool = False
    direct: TrialOutcome | None = None  # without the proxy

    def summary(self) -> dict[str, str]:
        """The trials one by one, for evidence: what was tried, and how it ended."""
        rows = {f"connect to {address}": outcome for address, outcome in self.connected.items()}
        rows |= {f"ask {address}": outcome for address, outcome in self.asked.items()}
        rows |= {"without verification": self.unverified} if self.unverified else {}
        rows |= {"without the proxy": self.direct} if self.direct else {}
        return {tried: str(outcome) for tried, outcome in rows.items()}


def diagnosis(seen: Observation, trials: Trials, since: Mapping[str, float]) -> str:
    """The finding in a sentence or two; empty where the trials say nothing that the failure itself doesn't.

    `since` says from when on each address has failed (seconds since the epoch).
    """
    texts: list[str] = []
    if trials.unverified and (trials.unverified.reason, trials.unverified.message) != (seen.reason, seen.message):
        texts.append(_without_verification(seen, trials.unverified, handshake_only=trials.handshake_only))
    if trials.direct:
        does = _does(trials.direct) if trials.direct.ok else f"fails as well: {trials.direct}"
        texts.append(f"without the proxy it {does}")
    outcomes = {address: trials.asked.get(address) or outcome for address, outcome in trials.connected.items()}
    if len(outcomes) == 1:
        texts += _of_one_address(seen, *next(iter(outcomes.items())), asked=bool(trials.asked))
    elif outcomes and not trials.unverified:
        texts += _of_addresses(seen, outcomes, since, asked=bool(trials.asked))
    return "; ".join(texts)


def _without_verification(seen: Observation, outcome: TrialOutcome, *, handshake_only: bool) -> str:
    what = {Reason.EXPIRED: seen.message.removeprefix("the ").split(", on ")[0], Reason.NOT_YET_VALID: "certificate not valid yet"}
    what |= {Reason.HOSTNAME: "certificate for another name", Reason.UNTRUSTED: "certificate not trusted", Reason.CHAIN: "chain incomplete"}
    problem = what.get(seen.reason, "TLS fails") if seen.reason else "TLS fails"
    if outcome.ok:
        return f"{problem}, but {'the TLS handshake works' if handshake_only else 'the service responds'} without verification"
    return f"{problem}, and without verification it fails as well: {outcome}"


def _of_one_address(seen: Observation, address: str, outcome: TrialOutcome, *, asked: bool) -> Iterator[str]:
    if outcome.ok and asked:
        yield f"on an immediate retry {address} {_does(outcome)}"
    elif outcome.ok and seen.reason in {Reason.REFUSED, Reason.UNREACHABLE}:
        yield f"on an immediate retry {address} accepts the connection"
    elif outcome.ok and _was_silent(seen):
        yield f"{address} accepts connections but doesn't respond"
    elif outcome.ok and seen.reason is Reason.TIMEOUT and "connect" in seen.phases:
        yield f"{address} accepts connections, and had responded in this run{_stopped(seen)}"
    elif outcome.ok and seen.reason is Reason.TIMEOUT:
        yield f"on an immediate retry {address} accepts the connection"


def _of_addresses(seen: Observation, outcomes: Mapping[str, TrialOutcome], since: Mapping[str, float], *, asked: bool) -> Iterator[str]:
    """Several addresses: which of them fail, and what the others do."""
    bad = [address for address, outcome in outcomes.items() if not outcome.ok]
    good = [address for address in outcomes if address not in bad]
    if not bad:
        yield _all_pass(seen, len(good), asked=asked)
        return
    # A family that fails as a whole is a matter of routes and not of servers.
    families = {":" in address for address in bad}
    if len(families) == 1 and good and all((":" in address) not in families for address in good):
        yield "IPv6 fails, IPv4 doesn't" if True in families else "IPv4 fails, IPv6 doesn't"
    if len(bad) == 1 and len(good) == 1:
        failing = bad[0]
        yield f"the other address, {good[0]}, {_does(outcomes[good[0]])}"
        if failing in since:
            yield f"{failing} has failed since {datetime.fromtimestamp(since[failing], UTC):%H:%M:%S}"
        else:
            yield f"{failing} {_does(outcomes[failing])}"
        return
    groups: dict[str, list[str]] = {}
    for address in (*bad, *good):
        groups.setdefault(_does(outcomes[address], many=True), []).append(address)
    first, *others = sorted(groups.values(), key=lambda group: (group[0] in good, -len(group)))
    some = f"{len(first)} of {len(outcomes)}" if len(first) < len(outcomes) else _all_of(len(outcomes))
    yield f"{some} addresses {_does(outcomes[first[0]], many=len(first) > 1)}"
    for group in others:
        yield f"{listed(group, _LISTED)} {_does(outcomes[group[0]], many=len(group) > 1)}"


def _all_pass(seen: Observation, count: int, *, asked: bool) -> str:
    which = f"{_all_of(count)} addresses"
    if asked:
        return f"on an immediate retry {which} respond as expected"
    if _was_silent(seen):
        return f"{which} accept connections but don't respond"
    if seen.reason is Reason.TIMEOUT and "connect" in seen.phases:
        return f"{which} accept connections, and the one that was asked had responded in this run{_stopped(seen)}"
    return f"{which} accept connections"


def _stopped(seen: Observation) -> str:
    stood = [name for name in seen.phases if name not in ("resolve", seen.halted_in)]
    return f": {listed(stood)} worked, and it stopped in {seen.halted_in}" if stood and seen.halted_in else ""


def _all_of(count: int) -> str:
    return "both" if count == 2 else f"all {count}"  # noqa: PLR2004 - both are two


def _does(outcome: TrialOutcome, *, many: bool = False) -> str:
    """What an address does, in a verb."""
    s = "" if many else "s"
    if outcome.status is not None and (outcome.ok or outcome.reason is Reason.STATUS):
        return f"answer{s} {outcome.status}"
    if outcome.reason is None:
        return f"accept{s} the connection"
    return (_MANY if many else _ONE).get(outcome.reason, f"fail{s} ({outcome.reason})")
