"""Every small formatter once: durations, ages, counts, lists, moments, addresses, hints and cuts. Imports nothing of Outrider."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import idna

_AGES = (("d", 86400, "h", 3600), ("h", 3600, "min", 60))
_TENTHS = 0.00995  # seconds below which tenths of a millisecond are written
_SUBSECOND = 0.9995  # seconds from which milliseconds would be written as 1000
_HUNDREDTHS = 9.995  # seconds below which hundredths are written
_LONGEST_WORD = 100  # characters of a word that are compared
_LONGEST_HOST, _LONGEST_LABEL = 254, 63  # characters: RFC 1035, section 2.3.4, with the last dot
_MOST_KNOWN = 2000  # words that one is compared with
_LONGEST_NAME = 80  # characters of an unknown name that are compared
_MOST_NAMES = 300  # names that one is compared with: a hint is worth a millisecond, not a second
_LISTED = 12  # names that a message lists
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"  # noncharacters of Unicode: around a part that is shown in part, and in no text from outside
_CLIPPED = re.compile(f"{_OPEN}([0-9]{{1,5}}):([^{_OPEN}{_CLOSE}]*){_CLOSE}|[{_OPEN}{_CLOSE}]")
# What a terminal obeys, what turns a line's direction round, and what some readers take for the end of a line.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
MARGIN = 4096  # characters behind the shown ones that stay until secrets are looked for


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


@lru_cache(maxsize=4096)
def is_address(host: str) -> bool:
    """Whether a host is an IP address by itself; an IPv6 address may carry its zone."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def ascii_host(host: str) -> str:
    """A host as DNS, SNI and certificates have it: characters beyond ASCII by IDNA 2008. Raises ValueError for what can't be a name."""
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ValueError(f"{host!r} is no name by IDNA 2008 ({error}); write it in its form with xn--") from None
    labels = host.removesuffix(".").split(".")
    if len(host) > _LONGEST_HOST or any(not 0 < len(label) <= _LONGEST_LABEL for label in labels):
        raise ValueError(f"{host[:_LONGEST_HOST]!r} can't be a name: a part is empty, or has more than {_LONGEST_LABEL} characters")
    return host


def address_text(value: str | bytes) -> str:
    """An IP address in its usual form, on every version of Python: an IPv4-mapped one ends in its IPv4 address, as RFC 5952 has it.

    Python before 3.13 writes ::ffff:7f00:1, and later versions and the system's library ::ffff:127.0.0.1. Raises ValueError.
    """
    ip = ipaddress.ip_address(value)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    if mapped is None:
        return str(ip)
    zone = f"%{ip.scope_id}" if isinstance(ip, ipaddress.IPv6Address) and ip.scope_id else ""
    return f"::ffff:{mapped}{zone}"


def host_and_port(host: str, port: int) -> str:
    """host:port, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """`; did you mean round_trip?`, or "" where no known word is similar. Its work is bounded, whatever a file contains."""
    near = difflib.get_close_matches(word[:_LONGEST_WORD], sorted(known), n=1, cutoff=0.7) if len(known) <= _MOST_KNOWN else []
    return f"; did you mean {near[0]}?" if near else ""


def unknown(name: str, what: str, known: Collection[str]) -> str:
    """`no such SLO: p96; did you mean p95?`, with the names there are where none is near."""
    names = sorted(known)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    there = f" (there are {', '.join(names[:_LISTED])}{more})" if names else " (none is declared)"
    hint = did_you_mean(name[:_LONGEST_NAME], known) if len(known) <= _MOST_NAMES else ""
    return f"no such {what}: {name}{hint or there}"


def one_line(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())


@dataclass(frozen=True, slots=True)
class Clip:
    """A part of a text of which `most` characters are shown."""

    start: int
    end: int
    most: int


def clipped(text: str, most: int) -> str:
    """The text for a message that shows its first `most` characters.

    It isn't cut here: a secret of which a cut has left a piece could no longer be found. The part is marked, and `shortened` cuts
    it when the secrets are gone: `judge.redact` does both.
    """
    plain, _ = clips(text)
    if len(plain) <= most:
        return plain
    kept = plain if len(plain) <= most + MARGIN else f"{plain[: most + MARGIN]}…"
    return f"{_OPEN}{most}:{kept}{_CLOSE}"


def clips(text: str) -> tuple[str, list[Clip]]:
    """The text without marks, and its marked parts in order."""
    if _OPEN not in text and _CLOSE not in text:
        return text, []
    pieces: list[str] = []
    found: list[Clip] = []
    at = length = 0
    for clip in _CLIPPED.finditer(text):
        part = "\ufffd" if clip[2] is None else clip[2]
        pieces += [text[at : clip.start()], part]
        length += clip.start() - at
        if clip[2] is not None:
            found.append(Clip(length, length + len(part), int(clip[1])))
        length += len(part)
        at = clip.end()
    return "".join((*pieces, text[at:])), found


def has_controls(text: str) -> bool:
    """Whether `visible` changes a text."""
    return _UNSEEN.search(text) is not None


def visible(text: str) -> str:
    r"""The text with control characters as escapes (`\x9b`, `\u202e`); tabs and line ends stay."""
    return _UNSEEN.sub(lambda found: f"\\x{ord(found[0]):02x}" if found[0] < "\u0100" else f"\\u{ord(found[0]):04x}", text)


def shortened(text: str, parts: Sequence[Clip], hidden: Sequence[tuple[int, int]] = (), stars: str = "") -> str:
    """The text with `stars` for each of the `hidden` spans (in order) and without controls, each part cut to what is shown of it."""

    def between(start: int, end: int) -> str:
        pieces, at = [], start
        for first, last in hidden:
            if first < end and last > start:
                pieces += [visible(text[at : max(first, at)]), stars]
                at = min(last, end)
        return "".join((*pieces, visible(text[at:end])))

    pieces, at = [], 0
    for part in parts:
        shown = between(part.start, part.end)
        pieces += [between(at, part.start), shown if len(shown) <= part.most else f"{shown[: part.most - 1]}…"]
        at = part.end
    return "".join((*pieces, between(at, len(text))))
