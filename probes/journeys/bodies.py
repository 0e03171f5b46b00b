"""The bodies that a step writes from fields: of an HTML form, and multipart/form-data (RFC 7578)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from probes.expect.template import fill
from probes.fields import HeaderText, Secret

_UNSAFE = re.compile(r'[\r\n"]')


class Part(BaseModel):
    """One part of a multipart body: a field, or a file where it has a filename."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    content: Secret = Field(description="The content, as text in UTF-8.")
    filename: HeaderText = Field(default="", description="The name of the file; without it the part is a plain field.")
    type: HeaderText = Field(default="", description="The Content-Type of the part; by default none for a field, text/plain for a file.")


def _content_alone(value: Any) -> Any:
    return {"content": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


PartField = Annotated[Part, BeforeValidator(_content_alone, json_schema_input_type=str | Part)]
Fields = dict[str, Annotated[tuple[Secret, ...], BeforeValidator(_listed, json_schema_input_type=Secret | list[Secret])]]


def form_text(fields: Fields, values: Mapping[str, Any]) -> str:
    """The fields as a form or a query writes them, in their order; a field with several values stands there several times."""
    return urlencode([(name, fill(each.get_secret_value(), values)) for name, several in fields.items() for each in several])


def multipart(parts: Mapping[str, Part], values: Mapping[str, Any]) -> tuple[str, bytes]:
    """Content type and body of the parts. The boundary is in none of them, and the same for the same parts."""
    written = []
    for name, part in parts.items():
        head = f'Content-Disposition: form-data; name="{_quoted(name)}"'
        if part.filename:
            head += f'; filename="{_quoted(fill(part.filename, values))}"'
        if kind := part.type or ("text/plain" if part.filename else ""):
            head += f"\r\nContent-Type: {kind}"
        written.append(f"{head}\r\n\r\n{fill(part.content.get_secret_value(), values)}\r\n".encode("utf-8", "replace"))
    whole = b"".join(written)
    boundary = hashlib.sha256(whole).hexdigest()[:32]
    while boundary.encode() in whole:
        boundary = hashlib.sha256(boundary.encode()).hexdigest()[:32]
    delimiter = f"--{boundary}".encode()
    return f"multipart/form-data; boundary={boundary}", b"".join(delimiter + b"\r\n" + part for part in written) + delimiter + b"--\r\n"


def _quoted(text: str) -> str:
    """A name in quotes, escaped as browsers escape it."""
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", text)
