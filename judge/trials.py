"""What the trials after a failure show, in words: pure. Each trial did one thing differently from the run that failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from judge.observation import Observation
from probes.core import Reason

TLS = frozenset({Reason.EXPIRED, Reason.NOT_YET_VALID, Reason.HOSTNAME, Reason.UNTRUSTED, Reason.CHAIN, Reason.TLS})
_ONE = {Reason.REFUSED: "refuses", Reason.UNREACHABLE: "can't be reached", Reason.RESET: "resets", Reason.TIMEOUT: "doesn't respond"}
_MANY = {Reason.REFUSED: "refuse", Reason.UNREACHABLE: "can't be reached", Reason.RESET: "reset", Reason.TIMEOUT: "don't respond"}
_LISTED = 3  # addresses that a sentence names


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one trial ended. `reason` is None where it went well; `status` of an HTTP answer, good or bad."""

    reason: Reason | None = None
    status: int | None = None
    message: str = ""

    @property
    def ok(self) -> bool:
        """It went well."""
        return self.reason is None


@dataclass(frozen=True, slots=True)
class Trials:
    """What was tried, as far as the kind and the limits let it. By address: the connection alone, and the whole asking."""

    connected: Mapping[str, Outcome] = field(default_factory=dict)
    asked: Mapping[str, Outcome] = field(default_factory=dict)
    unverified: Outcome | None = None  # without a look at the certificate: the whole, or (`shaken`) only up to the handshake's end
    shaken: bool = False
    direct: Outcome | None = None  # without the proxy

    def told(self) -> dict[str, str]:
        """The trials one by one, for evidence: what was tried, and how it ended."""
        rows = {f"connect to {address}": outcome for address, outcome in self.connected.items()}
        rows |= {f"ask {address}": outcome for address, outcome in self.asked.items()}
        rows |= {"without verification": self.unverified} if self.unverified else {}
        rows |= {"without the proxy": self.direct} if self.direct else {}
        return {tried: _ending(outcome) for tried, outcome in rows.items()}


def diagnosed(seen: Observation, trials: Trials, since: Mapping[str, float]) -> str:
    """The finding in a sentence or two; empty where the trials tell nothing that the failure itself doesn't.

    `since` says from when on each address has failed (seconds since the epoch).
    """
    return "; ".join(_findings(seen, trials, since))


def _findings(seen: Observation, trials: Trials, since: Mapping[str, float]) -> Iterator[str]:
    if trials.unverified:
        yield _without_verification(seen, trials.unverified, shaken=trials.shaken)
    if trials.direct:
        yield _without_proxy(trials.direct)
    outcomes = {address: trials.asked.get(address) or outcome for address, outcome in trials.connected.items()}
    if len(outcomes) == 1:
        yield from _alone(seen, *next(iter(outcomes.items())), asked=bool(trials.asked))
    elif outcomes and not trials.unverified:
        yield from _compared(seen, outcomes, since, asked=bool(trials.asked))


def _without_verification(seen: Observation, outcome: Outcome, *, shaken: bool) -> str:
    what = {Reason.EXPIRED: seen.message.removeprefix("the ").split(", on ")[0], Reason.NOT_YET_VALID: "certificate not valid yet"}
    what |= {Reason.HOSTNAME: "certificate for another name", Reason.UNTRUSTED: "certificate not trusted", Reason.CHAIN: "chain incomplete"}
    said = what.get(seen.reason, "TLS fails") if seen.reason else "TLS fails"
    if outcome.ok:
        return f"{said}, but {'the TLS handshake works' if shaken else 'the service responds'} without verification"
    return f"{said}, and without verification it fails as well: {_ending(outcome)}"


def _without_proxy(outcome: Outcome) -> str:
    return f"without the proxy it {_does(outcome)}" if outcome.ok else f"without the proxy it fails as well: {_ending(outcome)}"


def _alone(seen: Observation, address: str, outcome: Outcome, *, asked: bool) -> Iterator[str]:
    if outcome.ok and asked:
        yield f"on an immediate retry {address} {_does(outcome)}"
    elif outcome.ok and seen.reason in {Reason.REFUSED, Reason.UNREACHABLE}:
        yield f"on an immediate retry {address} accepts the connection"
    elif outcome.ok and seen.reason is Reason.TIMEOUT and "connect" in seen.phases:
        yield f"{address} accepts connections but doesn't respond"
    elif outcome.ok and seen.reason is Reason.TIMEOUT:
        yield f"on an immediate retry {address} accepts the connection"


def _compared(seen: Observation, outcomes: Mapping[str, Outcome], since: Mapping[str, float], *, asked: bool) -> Iterator[str]:
    """Several addresses: which of them fail, and what the others do."""
    bad = [address for address, outcome in outcomes.items() if not outcome.ok]
    good = [address for address in outcomes if address not in bad]
    if not bad:
        yield _all_well(seen, len(good), asked=asked)
        return
    if family := _family(good, bad):
        yield family
    if len(bad) == 1 and len(good) == 1:
        failing = bad[0]
        yield f"the other address, {good[0]}, {_does(outcomes[good[0]])}"
        yield _failing_since(failing, since) if failing in since else f"{failing} {_does(outcomes[failing])}"
        return
    groups: dict[str, list[str]] = {}
    for address in (*bad, *good):
        groups.setdefault(_does(outcomes[address], many=True), []).append(address)
    first, *others = sorted(groups.values(), key=lambda group: (group[0] in good, -len(group)))
    yield f"{_how_many(len(first), len(outcomes))} {_does(outcomes[first[0]], many=len(first) > 1)}"
    for group in others:
        yield f"{_listed(group)} {_does(outcomes[group[0]], many=len(group) > 1)}"


def _all_well(seen: Observation, count: int, *, asked: bool) -> str:
    which = f"{'both' if count == 2 else f'all {count}'} addresses"  # noqa: PLR2004 - both are two
    if asked:
        return f"on an immediate retry {which} respond as expected"
    if seen.reason is Reason.TIMEOUT and "connect" in seen.phases:
        return f"{which} accept connections but don't respond"
    return f"{which} accept connections"


def _family(good: Sequence[str], bad: Sequence[str]) -> str:
    """IPv6 and IPv4 tell apart what fails: worth a word, since it is a matter of routes and not of servers."""
    sixes = {":" in address for address in bad}
    if len(sixes) == 1 and good and all((":" in address) not in sixes for address in good):
        return "IPv6 fails, IPv4 doesn't" if True in sixes else "IPv4 fails, IPv6 doesn't"
    return ""


def _failing_since(address: str, since: Mapping[str, float]) -> str:
    return f"{address} has failed since {datetime.fromtimestamp(since[address], UTC):%H:%M:%S}"


def _how_many(some: int, all_: int) -> str:
    if some < all_:
        return f"{some} of {all_} addresses"
    return "both addresses" if some == 2 else f"all {all_} addresses"  # noqa: PLR2004 - both are two


def _does(outcome: Outcome, *, many: bool = False) -> str:
    """What an address does, in a verb."""
    s = "" if many else "s"
    if outcome.status is not None and (outcome.ok or outcome.reason is Reason.STATUS):
        return f"answer{s} {outcome.status}"
    if outcome.reason is None:
        return f"accept{s} the connection"
    return (_MANY if many else _ONE).get(outcome.reason, f"fail{s} ({outcome.reason})")


def _ending(outcome: Outcome) -> str:
    if outcome.ok:
        return _does(outcome) if outcome.status is not None else "succeeded"
    return f"{outcome.reason}: {outcome.message}" if outcome.message else str(outcome.reason)


def _listed(addresses: Sequence[str]) -> str:
    if len(addresses) == 1:
        return addresses[0]
    shown, rest = addresses[:_LISTED], len(addresses) - _LISTED
    return f"{', '.join(shown)} and {rest} more" if rest > 0 else f"{', '.join(shown[:-1])} and {shown[-1]}"
