"""The types of settings: durations, sizes, rates, percentages, secrets and addresses.

Every number that has a unit is written with it; a number without one is an error that says what to write.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    SecretStr,
    SerializationInfo,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from probes.text import address_text, ascii_host, setting, unknown

_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400), "w": Decimal(604800)}
_BYTES = {"B": 1, "kB": 1000, "KiB": 1024, "MB": 1000**2, "MiB": 1024**2, "GB": 1000**3, "GiB": 1024**3}
_LONGEST = 3650 * 86400.0  # seconds of any duration
_LARGEST = 2**30  # bytes of any size
UNITS = "x-units"  # in a field's JSON schema: the value of each unit as the field's number, so that a default can be written with a unit
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d|w))+\Z")
_PIECE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(B|kB|KiB|MB|MiB|GB|GiB)\Z")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%\Z")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?\Z")
_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+){3}\.?\Z")  # an address of IPv4, and no name
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")  # RFC 9110, 5.6.2
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?: ?([A-Z]{3}))?/(.+)\Z")


def seconds(text: Any) -> float:
    """Seconds of a duration such as 250ms, 5s, 1m30s, 2h, 30d. Raises ValueError with what to write instead."""
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError("write a duration with its unit, such as 5s")
    if not isinstance(text, str) or re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise ValueError(f"{text} has no unit; write {text}s")
    if not _DURATION.match(text):
        raise ValueError(f"{text!r} is no duration; write it like 250ms, 5s, 1m30s, 2h or 30d")
    return float(sum(Decimal(n) * _SECONDS[unit] for n, unit in _PIECE.findall(text)))


def positive_seconds(text: Any) -> float:
    """As `seconds`, above zero and at most ten years."""
    if (value := seconds(text)) <= 0:
        raise ValueError("must be longer than 0s")
    if value > _LONGEST:
        raise ValueError(f"must be at most {setting(_LONGEST)}")
    return value


def between(shortest: str, longest: str) -> AfterValidator:
    """Bounds for a duration, both included."""

    def judge(value: float) -> float:
        if not seconds(shortest) <= value <= seconds(longest):
            raise ValueError(f"must be between {shortest} and {longest}")
        return value

    return AfterValidator(judge)


def size(text: Any) -> int:
    """Bytes of a size such as 64KiB or 1MB (kB = 1000 bytes, KiB = 1024)."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise ValueError(f"{text} has no unit; write {text}B, or KiB, MiB, GiB")
    if not isinstance(text, str) or not (found := _SIZE.match(text)):
        raise ValueError("write a size with its unit, such as 64KiB or 1MB")
    value = int(Decimal(found[1]) * _BYTES[found[2]])
    if not 1 <= value <= _LARGEST:
        raise ValueError("must be between 1B and 1GiB")
    return value


def percent(text: Any) -> Decimal:
    """The share that a percentage such as 99.9% names, exactly: Decimal("0.999")."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise ValueError(f"{text} has no unit; write {text}%")
    if not isinstance(text, str) or not (found := _PERCENT.match(text)):
        raise ValueError("write a percentage, such as 99.9%")
    if (share := Decimal(found[1]) / 100) > 1:
        raise ValueError("can't be above 100%")
    return share


def host(text: Any) -> str:
    """A name or an address without brackets. Raises ValueError with what to write instead."""
    if not isinstance(text, str) or not text:
        raise ValueError("write a name or an address")
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return address_text(bare)
    except ValueError:
        name = bare if bare.isascii() else ascii_host(bare)
        if not _HOST.match(name):
            raise ValueError(f"{text!r} is neither a name nor an address; leave out scheme, port and path") from None
        return ascii_host(name)


def url_host(name: str) -> str:
    """The host of an address, where it can be one. Raises ValueError, with nothing of the address in it."""
    try:
        if _NUMBERS.match(name):
            ipaddress.ip_address(name.rstrip("."))
        if not name.isprintable() or not {" ", "\\"}.isdisjoint(name):
            raise ValueError
        ascii_host(name)
    except ValueError:
        raise ValueError("has a host that is neither a name nor an address") from None
    return name


def split_url(text: str, *, schemes: Collection[str] = ("http", "https"), example: str = "https://api.roadtrip.app") -> SplitResult:
    """A URL's pieces, where it is one that can be asked: its port is a number, its host a name or an address.

    Raises ValueError with what to write instead. No piece of the URL is in it: urlsplit's own words may repeat a password.
    """
    escapes = "; in a user or a password write @ as %40, : as %3A, / as %2F, # as %23, ? as %3F" if "@" in text else ""
    try:
        split = urlsplit(text)
        name, port = split.hostname or "", split.port
        if _NUMBERS.match(name):
            ipaddress.ip_address(name.rstrip("."))
    except ValueError:
        raise ValueError(f"is no address; write it like {example}{escapes}") from None
    if split.scheme not in schemes or not name:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)} and a host")
    try:
        ascii_host(name)
    except ValueError:
        raise ValueError("has a host that can't be a name; write characters beyond ASCII in their form with xn--") from None
    if port == 0 or not text.isprintable() or " " in name or "\\" in split.netloc:
        raise ValueError(f"is no address; write it like {example}{escapes}")
    return split


@dataclass(frozen=True, slots=True)
class Rate:
    """An amount in a period: 900/1h is 900.0 in 3600 seconds; `unit` is the currency, if there is one (0.50 USD/1d)."""

    EXAMPLE: ClassVar[str] = "900/1h"

    amount: float
    window: float
    unit: str = ""

    @classmethod
    def parse(cls, text: Any) -> Rate:
        """Reads `900/1h`, `20/s` (one unit), `0.50 USD/1d`."""
        if isinstance(text, Rate):
            return text
        if not isinstance(text, str) or not (found := _RATE.match(text)):
            raise ValueError("write an amount in a period, such as 900/1h")
        window = found[3] if found[3][:1].isdigit() else f"1{found[3]}"
        return cls(float(found[1]), positive_seconds(window), found[2] or "")

    def written(self) -> str:
        """As checks.yaml writes it, so that `parse` reads it again."""
        return f"{_decimal(self.amount)}{f' {self.unit}' if self.unit else ''}/{duration_text(self.window)}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(cls.written, return_schema=core_schema.str_schema(), when_used="json")
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "description": "an amount in a period, such as 900/1h"}


class TextSetting(ABC):
    """A setting that is written as one text. It keeps the text, and the resolved configuration shows it as it was written."""

    __slots__ = ()

    DESCRIPTION: ClassVar[str]  # what to write, for the JSON schema

    text: str

    @classmethod
    @abstractmethod
    def parse(cls, text: Any) -> Self:
        """Reads what was written; an instance stays as it is. Raises ValueError with what to write."""

    def __str__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "description": cls.DESCRIPTION}


def _decimal(value: float) -> str:
    """A number without an exponent, exactly."""
    return f"{Decimal(repr(value)):f}"


def duration_text(value: float) -> str:
    """Seconds as checks.yaml writes them, so that `seconds` reads the same number again."""
    return f"{_decimal(value)}s"


def _text_schema(description: str, example: str, units: Mapping[str, float | Decimal] | None = None) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description, "examples": [example]} | ({UNITS: units} if units else {}))


def _hidden_unless_revealed(secret: SecretStr, info: SerializationInfo) -> str:
    return secret.get_secret_value() if (info.context or {}).get("reveal") else str(secret)


def _header_name(name: str) -> str:
    if not _TOKEN.match(name) and "${" not in name:  # that is told where keys are filled in
        raise ValueError("is no name of a header: letters, digits and - are")
    return name


def _header_text(text: str) -> str:
    """Tells what can't stand in a header when checks.yaml is read, and names the character: it isn't seen in many editors."""
    for sign in text:
        if not sign.isascii() or (sign < " " and sign != "\t") or sign == "\x7f":
            what = "a line break" if sign in "\r\n" else f"{unicodedata.name(sign, 'a control character')} (U+{ord(sign):04X})"
            raise ValueError(f"contains {what}, which can't stand in a header; save it without")
    return text


def _not_empty(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise ValueError("is empty; write a value, or remove the line")
    return secret


def declared(section: str, what: str) -> Callable[[Any, ValidationInfo], Any]:
    """Makes a validator that replaces a name by what is declared so in a section of checks.yaml (validation context `section`)."""

    def by_name(value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        known: Mapping[str, Any] = (info.context or {}).get(section, {})
        if value not in known:
            raise ValueError(unknown(value, what, known))
        return known[value]

    return by_name


def _file(value: Any, info: ValidationInfo) -> Any:
    """A path; a relative one starts at the folder of checks.yaml (validation context `folder`), an empty one is None."""
    if not isinstance(value, str):
        return value
    return str(Path((info.context or {}).get("folder", "."), value)) if value else None  # a text: JSON has no paths


Duration = Annotated[
    float,
    BeforeValidator(positive_seconds),
    PlainSerializer(duration_text, return_type=str, when_used="json"),
    _text_schema("a duration with its unit, such as 250ms, 5s, 1m30s, 2h, 30d", "5s", _SECONDS),
]
Size = Annotated[int, BeforeValidator(size), _text_schema("a size with its unit, such as 64KiB or 1MB", "64KiB", _BYTES)]
Percent = Annotated[Decimal, BeforeValidator(percent), _text_schema("a percentage, such as 99.9%", "99.9%")]
Host = Annotated[str, BeforeValidator(host), _text_schema("a name or an address", "api.roadtrip.app")]
OptionalFile = Annotated[Path | None, BeforeValidator(_file), WithJsonSchema({"type": ["string", "null"], "format": "path"})]
Port = Annotated[int, Field(ge=1, le=65535)]
Secret = Annotated[SecretStr, PlainSerializer(_hidden_unless_revealed, return_type=str, when_used="json")]
HeaderText = Annotated[str, AfterValidator(_header_text)]
HeaderValue = Annotated[Secret, AfterValidator(lambda secret: SecretStr(_header_text(secret.get_secret_value())))]
Headers = dict[Annotated[str, AfterValidator(_header_name)], HeaderValue]
Key = Annotated[HeaderValue, AfterValidator(_not_empty)]  # what is sent in a header and lets in
REVEALED = {"reveal": True}  # the context of model_dump in which a Secret is written out: for another process of ours
