"""What the response of a DNS server must be, and the reason when it is not. Pure: no socket, no clock."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdatatype
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from probes import Failed, Reason
from probes.expect.assertions import Patterns
from probes.expect.patterns import Pattern, shown

Rcode = Literal["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]


def listed(value: Any) -> Any:
    """One value as a sequence of one: a setting may be written without brackets."""
    return value if isinstance(value, list | tuple) else (value,)


Texts = Annotated[tuple[str, ...], BeforeValidator(listed, json_schema_input_type=str | list[str])]
Rcodes = Annotated[tuple[Rcode, ...], BeforeValidator(listed, json_schema_input_type=Rcode | list[Rcode])]


class ExpectedRecords(BaseModel):
    """Conditions for the data of the queried type; names are compared without the last dot and without case."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    equals: Texts | None = Field(default=None, description="Exactly these records, in any order.")
    contains: Texts = Field(default=(), description="These records, among others.")
    regex: Pattern | None = Field(default=None, description="A regular expression (RE2) found in at least one record.")
    not_regex: Patterns = Field(default=(), description="A regular expression (RE2) that must be found in no record, or several.")
    at_least: int | None = Field(default=None, ge=0, description="The least number of records; 1 by default if the server returns NOERROR.")

    def judge(self, what: str, records: list[str]) -> None:
        """Raises Failed(body) for the first condition that doesn't hold. `what` is the queried name and type."""
        have = {_normalized(each) for each in records}
        if missing := [each for each in self.contains if _normalized(each) not in have]:
            raise Failed(Reason.BODY, f"{', '.join(missing)} is not among {_list(records)}")
        if self.equals is not None and have != {_normalized(each) for each in self.equals}:
            raise Failed(Reason.BODY, f"{what} is {_list(records)}, expected {_list(self.equals)}")
        if self.regex is not None and not any(self.regex.search(each) for each in records):
            raise Failed(Reason.BODY, f"nothing among {_list(records)} matches {self.regex}")
        for pattern in self.not_regex:
            if found := next(filter(pattern.search, records), None):
                raise Failed(Reason.BODY, f"{what} is {shown(found)}, which matches {pattern}")


class ExpectedSection(BaseModel):
    """Conditions for the whole records of a section, such as `example.com. 3600 IN A 192.0.2.7`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    all: Patterns = Field(default=(), description="A regular expression (RE2) found in every record, or several; there must be a record.")
    any: Patterns = Field(default=(), description="A regular expression (RE2) found in at least one record, or several.")
    none: Patterns = Field(default=(), description="A regular expression (RE2) that must be found in no record, or several.")

    def judge(self, section: str, records: list[str]) -> None:
        """Raises Failed(body) for the first condition that doesn't hold. `section` is the section's name."""
        for pattern in (*self.all, *self.any):
            if not records:
                raise Failed(Reason.BODY, f"the {section} section is empty, expected a record that matches {pattern}")
        for pattern in self.all:
            if other := next((each for each in records if not pattern.search(each)), None):
                raise Failed(Reason.BODY, f"{shown(other)} in the {section} section doesn't match {pattern}")
        for pattern in self.any:
            if not any(map(pattern.search, records)):
                raise Failed(Reason.BODY, f"no record in the {section} section matches {pattern}; the first is {shown(records[0])}")
        for pattern in self.none:
            if found := next(filter(pattern.search, records), None):
                raise Failed(Reason.BODY, f"{shown(found)} in the {section} section matches {pattern}")


class ExpectedSections(BaseModel):
    """Conditions by section of the response."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    answer: ExpectedSection = ExpectedSection()
    authority: ExpectedSection = ExpectedSection()
    additional: ExpectedSection = ExpectedSection()


class ExpectedResponse(BaseModel):
    """Conditions for the response."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    rcode: Rcodes = Field(default=("NOERROR",), description="The expected response code, or several.")
    answers: ExpectedRecords = ExpectedRecords()
    sections: ExpectedSections = ExpectedSections()
    authenticated: bool | None = Field(default=None, description="Whether the server must report that it validated the response (AD).")

    def judge(self, name: str, kind: str, response: dns.message.Message, records: list[str]) -> None:
        """Raises Failed for the first thing that is not as expected. `records` are the data of the type `kind`."""
        rcode = dns.rcode.to_text(response.rcode())
        if rcode not in self.rcode:
            raise Failed(Reason.DNS, f"{name} {kind}: the server returned {rcode}, expected {' or '.join(self.rcode)}")
        least = self.answers.at_least if self.answers.at_least is not None else int(rcode == "NOERROR")
        if len(records) < least:
            raise Failed(Reason.DNS, f"{name} has {len(records) or 'no'} {kind} records, expected at least {least}")
        self.answers.judge(f"{name} {kind}", records)
        for section in ("answer", "authority", "additional"):
            wanted: ExpectedSection = getattr(self.sections, section)
            if wanted.model_fields_set:
                wanted.judge(section, [rrset.to_text() for rrset in getattr(response, section)])
        if self.authenticated is not None and self.authenticated != bool(response.flags & dns.flags.AD):
            raise Failed(Reason.BODY, f"the server has {'not ' if self.authenticated else ''}validated the response (AD)")


def data_of(response: dns.message.Message, kind: str) -> list[str]:
    """The data of the answer's records of a type (ANY: of all types), as people write them, in order."""
    wanted = dns.rdatatype.from_text(kind)
    return sorted(in_text(record) for rrset in response.answer if wanted in (rrset.rdtype, dns.rdatatype.ANY) for record in rrset)


def in_text(record: dns.rdata.Rdata) -> str:
    """The data of a record as people write it: TXT joined and without quotes, names without the last dot."""
    if record.rdtype == dns.rdatatype.TXT:
        return b"".join(record.strings).decode("utf-8", "replace")  # type: ignore[attr-defined]
    text = record.to_text()
    if record.rdtype in (dns.rdatatype.CAA, dns.rdatatype.HTTPS, dns.rdatatype.SVCB, dns.rdatatype.NAPTR):
        return text  # these have quoted texts
    return " ".join(word.rstrip(".") or "." for word in text.split())


def _normalized(text: str) -> str:
    return text.rstrip(".").lower()


def _list(records: list[str] | tuple[str, ...]) -> str:
    return ", ".join(records[:5]) or "nothing"
