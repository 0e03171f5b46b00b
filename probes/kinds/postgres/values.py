"""What a column's value is for conditions: numbers, texts, JSON, seconds, lists. Nothing that a server can store is an error here.

Numbers and times are asked for in PostgreSQL's binary form, which no setting of the role changes; everything else in its own words.
"""

from __future__ import annotations

import contextlib
import json
import re
import struct
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

INTERVAL = 1186
_BOOL, _DATE, _TIMESTAMP, _TIMESTAMPTZ, _NUMERIC = 16, 1082, 1114, 1184, 1700
_WHOLE: Mapping[int, str] = {21: "!h", 23: "!i", 20: "!q", 26: "!I"}  # int2, int4, int8, oid
_WHOLE_TEXTS = frozenset({28, 29, 5069})  # xid, cid, xid8
_FLOATS, _JSON = frozenset({700, 701}), frozenset({114, 3802})
_BINARY = frozenset({_BOOL, _DATE, _TIMESTAMP, _TIMESTAMPTZ, INTERVAL, *_WHOLE})
_ARRAYS: Mapping[int, int] = {  # the element's type by the array's, of pg_type
    1000: 16,
    1005: 21,
    1007: 23,
    1016: 20,
    1028: 26,
    1021: 700,
    1022: 701,
    1231: 1700,
    199: 114,
    3807: 3802,
    1182: 1082,
    1115: 1114,
    1185: 1184,
    1187: 1186,
    1009: 25,
    1015: 1043,
    1014: 1042,
    1003: 19,
    1002: 18,
    2951: 2950,
}
_INFINITE = (-(2**63), 2**63 - 1)  # the moments and intervals that PostgreSQL calls infinite
ELEMENT_OF = (  # of an array's type: the element's, or the type below it if that is a domain, and what stands between two elements
    "SELECT coalesce(nullif(e.typbasetype, 0), e.oid), e.typdelim FROM pg_catalog.pg_type a "
    "JOIN pg_catalog.pg_type e ON e.oid = a.typelem WHERE a.oid = {oid} AND a.typcategory = 'A'"
)
_MICROSECONDS = 1_000_000
_DAY = 86_400 * _MICROSECONDS
_YEAR, _MONTH = 365.25 * 86_400, 30 * 86_400  # seconds, as PostgreSQL's extract(epoch from interval) counts them
_LONGEST_NUMBER = 300  # digits of a whole number that is kept exactly


def is_binary(oid: int) -> bool:
    """Whether values of this type are asked for in the binary form."""
    return _ARRAYS.get(oid, oid) in _BINARY


def read_value(oid: int, data: bytes | None) -> Any:
    """A column's value from its bytes. Raises ValueError or struct.error for bytes that no server sends."""
    if data is None:
        return None
    if not is_binary(oid):
        return read_text(oid, data)
    return _binary_array(data) if oid in _ARRAYS else _of_binary(oid, data)


def read_text(oid: int, data: bytes | None) -> Any:
    """A column's value from the server's own words for it."""
    if data is None:
        return None
    text = data.decode("utf-8", "replace")
    return read_array(text, _ARRAYS[oid]) if oid in _ARRAYS else _of_text(oid, text)


def may_be_array(oid: int, value: Any) -> bool:
    """Whether a value of a type that isn't known here looks like an array, so that it is worth a look into pg_type."""
    return isinstance(value, str) and oid not in _ARRAYS and oid not in _JSON and value[:1] in ("{", "[") and value.endswith("}")


def read_array(text: str, element: int, delimiter: str = ",") -> Any:
    """An array in PostgreSQL's own words as a list; the text itself if it is no array."""
    body = text.partition("=")[2] if text.startswith("[") else text  # [0:1]={7,8}: the bounds are no value
    if not body.startswith("{"):
        return text
    separator = re.escape(delimiter)
    tokens = re.compile(rf'"((?:[^"\\]|\\.)*)"|([{{}}{separator}])|((?:[^{{}}{separator}"\\]|\\.)+)', re.DOTALL)
    outermost: list[Any] = []
    open_lists, at = [outermost], 0
    while found := tokens.match(body, at):
        quoted, sign, bare = found.groups()
        at = found.end()
        if sign == "{":
            inner: list[Any] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif sign == "}":
            open_lists.pop()
            if not open_lists:
                return text
        elif sign is None:
            word = re.sub(r"\\(.)", r"\1", quoted if bare is None else bare, flags=re.DOTALL)
            open_lists[-1].append(None if bare is not None and bare.upper() == "NULL" else _of_text(element, word))
    return outermost[0] if at == len(body) and len(open_lists) == 1 and len(outermost) == 1 else text


def _of_text(oid: int, text: str) -> Any:
    with contextlib.suppress(ValueError, RecursionError, ArithmeticError):  # then it stays a text
        if oid == _BOOL:
            return text == "t"
        if oid in _WHOLE or oid in _WHOLE_TEXTS:
            return int(text)
        if oid in _FLOATS:
            return float(text)
        if oid == _NUMERIC:
            return _number(text)
        if oid in _JSON:
            return json.loads(text, parse_int=_number)
    return text


def _number(text: str) -> int | float:
    """A whole number exactly, any other as a float: NaN and Infinity too, and as Infinity what is above every float."""
    value = Decimal(text)
    if value.is_finite() and value == value.to_integral_value() and value.adjusted() < _LONGEST_NUMBER:
        return int(value)
    return float(value)


def _of_binary(oid: int, data: bytes) -> Any:
    if oid == _BOOL:
        return data != b"\0"
    if oid in _WHOLE:
        return struct.unpack(_WHOLE[oid], data)[0]
    if oid == INTERVAL:
        return _seconds(*struct.unpack("!qii", data))
    if oid == _DATE:
        (days,) = struct.unpack("!i", data)
        return _infinity(days > 0) if days in (-(2**31), 2**31 - 1) else "{}{}".format(*_day(days))
    (moment,) = struct.unpack("!q", data)
    return _infinity(moment > 0) if moment in _INFINITE else _moment(moment, "+00:00" if oid == _TIMESTAMPTZ else "")


def _binary_array(data: bytes) -> list[Any]:
    dimensions, _, element = struct.unpack_from("!iiI", data)
    sizes = [struct.unpack_from("!i", data, 12 + 8 * n)[0] for n in range(dimensions)]
    values, at = [], 12 + 8 * dimensions
    while at < len(data):
        (length,) = struct.unpack_from("!i", data, at)
        at += 4
        values.append(None if length < 0 else _of_binary(element, data[at : at + length]))
        at += max(length, 0)
    for size in reversed(sizes[1:]):
        values = [values[first : first + size] for first in range(0, len(values), size)]
    return values


def _seconds(microseconds: int, days: int, months: int) -> int | float:
    """Seconds of an interval, as extract(epoch from interval) gives them; infinite ones since PostgreSQL 17."""
    if microseconds in _INFINITE and abs(days) >= 2**31 - 1 and abs(months) >= 2**31 - 1:
        return float("inf") if microseconds > 0 else float("-inf")
    years = int(months / 12)  # towards zero
    seconds = microseconds / _MICROSECONDS + days * 86_400 + years * _YEAR + (months - years * 12) * _MONTH
    return int(seconds) if seconds.is_integer() else seconds


def _infinity(positive: bool) -> str:  # noqa: FBT001 - its name is its meaning
    return "infinity" if positive else "-infinity"


def _moment(microseconds: int, zone: str) -> str:
    """A moment in ISO 8601, from the microseconds since 2000; PostgreSQL's years go further than Python's."""
    days, rest = divmod(microseconds, _DAY)
    date, era = _day(days)
    seconds, fraction = divmod(rest, _MICROSECONDS)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{fraction:06}" if fraction else "")
    return f"{date}T{clock}{zone}{era}"


def _day(days: int) -> tuple[str, str]:
    """The date (proleptic Gregorian) this many days after 2000-01-01, and " BC" for a year before 1."""
    centuries, day = divmod(days + 730_425, 146_097)  # since 0000-03-01, in spans of 400 years
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153  # since March
    day -= (153 * month + 2) // 5 - 1
    year += 400 * centuries + (1 if month >= 10 else 0)  # noqa: PLR2004 - January and February end the year that began in March
    month += 3 if month < 10 else -9  # noqa: PLR2004
    return (f"{year:04}-{month:02}-{day:02}", "") if year > 0 else (f"{1 - year:04}-{month:02}-{day:02}", " BC")
