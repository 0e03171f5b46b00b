"""Every small formatter once: durations, ages, counts, lists, moments, addresses and hints. Imports nothing of Outrider."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

_AGES = (("d", 86400, "h", 3600), ("h", 3600, "min", 60))
_TENTHS = 0.00995  # seconds below which tenths of a millisecond are written
_SUBSECOND = 0.9995  # seconds from which milliseconds would be written as 1000
_HUNDREDTHS = 9.995  # seconds below which hundredths are written
_LONGEST_WORD = 100  # characters of a word that are compared
_MOST_KNOWN = 2000  # words that one is compared with


def latency(seconds: float) -> str:
    """How long something took, for a person: `<0.1 ms`, `0.4 ms`, `480 ms`, `1.24 s`, `75 s`."""
    if seconds < 0.00005:  # noqa: PLR2004 - what would be written as 0.0 ms
        return "<0.1 ms"
    if seconds < _SUBSECOND:
        return f"{seconds * 1000:.{1 if seconds < _TENTHS else 0}f} ms"
    return f"{seconds:.{2 if seconds < _HUNDREDTHS else 0}f} s"


def exact(seconds: float) -> str:
    """A threshold with all its digits: `500 ms`, `1 s`, `2.25 s`."""
    return f"{seconds * 1000:.10g} ms" if seconds < 1 else f"{seconds:.10g} s"


def setting(seconds: float) -> str:
    """A duration as checks.yaml writes it, in the largest unit that leaves no fraction: `250ms`, `5s`, `1.5s`, `90m`, `30d`."""
    if seconds < _SUBSECOND:
        return f"{seconds * 1000:.3g}ms"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.3g}s" if seconds < 1000 else f"{seconds:.0f}s"  # noqa: PLR2004 - what %g would write as 1e+03


def age(seconds: float) -> str:
    """How long something has gone on, in its one or two largest units: `12 s`, `3 min`, `2 h 5 min`, `3 d 4 h`."""
    whole = max(0, round(seconds))
    for unit, length, smaller, part in _AGES:
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length} {unit} {rest} {smaller}" if rest else f"{whole // length} {unit}"
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"  # noqa: PLR2004 - a minute


def count(number: float, word: str, plural: str = "") -> str:
    """A number with its noun: `1 check`, `1,204 checks`, `3 dependencies`."""
    return f"{number:,.0f} {word if number == 1 else plural or f'{word}s'}"


def listed(names: Sequence[str], most: int = 0) -> str:
    """`a, b and c`; where `most` is given, from a longer list the first ones and how many more: `a, b and 7 more`."""
    if most and len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most:,} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def iso(at: float, timespec: str = "milliseconds") -> str:
    """Seconds since the epoch as ISO 8601 in UTC, with Z."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def moment(at: float) -> str:
    """Seconds since the epoch for a person: `2026-11-24 14:12:05 UTC`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def is_address(host: str) -> bool:
    """Whether a host is an IP address by itself; an IPv6 address may carry its zone."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def host_and_port(host: str, port: int) -> str:
    """host:port, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """`; did you mean round_trip?`, or "" where no known word is similar. Its work is bounded, whatever a file contains."""
    near = difflib.get_close_matches(word[:_LONGEST_WORD], sorted(known), n=1, cutoff=0.7) if len(known) <= _MOST_KNOWN else []
    return f"; did you mean {near[0]}?" if near else ""


def one_line(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())
