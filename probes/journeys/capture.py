"""What a step captures of its response for later steps."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from probes.core import Failed, Reason
from probes.expect.assertions import document
from probes.expect.json_path import JsonPath
from probes.expect.patterns import Pattern, whole_characters
from probes.http.message import Response

MOST_VALUES = 1000  # of an array or an object that is captured: each text in it may be a secret


def leaves(value: Any) -> Iterator[Any]:
    """The texts, numbers, booleans and nulls of a JSON value."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield value


class Capture(BaseModel):
    """Where a value is taken from a response: a JSONPath, a header, a regular expression, or one in a header."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    json_: JsonPath | None = Field(default=None, alias="json", description="A JSONPath; the first value that it selects is captured.")
    header: str | None = Field(default=None, description="The name of a header; its value is captured.")
    regex: Pattern | None = Field(
        default=None, description="A regular expression (RE2) for the body or the header; its first group is captured."
    )
    entities: bool = Field(
        default=True, description="Whether `&amp;` and the like are decoded in what a regular expression finds in HTML or XML."
    )
    secret: bool = Field(default=True, description="Whether the value is a secret that no output may show.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.json_ is None and self.header is None and self.regex is None:
            raise ValueError("write a JSONPath, or header: or regex:")
        if self.json_ is not None and (self.header is not None or self.regex is not None):
            raise ValueError("json goes with neither header nor regex")
        return self

    def take(self, name: str, response: Response) -> Any:
        """The captured value: of JSON with its type, an array or an object whole.

        Raises Failed(schema) where the response has none, Failed(body) where it is not JSON, and Failed(size) for too large a value.
        """
        if self.json_ is not None:
            found = self.json_.find(document(response))
            if not found or found[0] is None:
                raise Failed(Reason.SCHEMA, f"{self.json_} is {'null' if found else 'absent'}; nothing to capture as {name}")
            if sum(1 for _ in leaves(found[0])) > MOST_VALUES:
                raise Failed(Reason.SIZE, f"{self.json_} has more than {MOST_VALUES:,} values; too many to capture as {name}")
            return whole_characters(found[0]) if isinstance(found[0], str) else found[0]
        text = response.text() if self.header is None else response.header(self.header)
        where = "the body" if self.header is None else f"header {self.header}"
        if text is None:
            raise Failed(Reason.SCHEMA, f"{where} is absent; nothing to capture as {name}")
        if self.regex is None:
            return text
        if not (match := self.regex.search(text)):
            raise Failed(Reason.SCHEMA, f"nothing in {where} matches {self.regex}; nothing to capture as {name}")
        part = match.group(1 if match.re.groups else 0) or ""
        kind = (response.header("content-type") or "").partition(";")[0].strip().lower()
        in_markup = self.header is None and self.entities and (kind == "text/html" or kind.endswith(("+xml", "/xml")))
        return html.unescape(part) if in_markup else part


def _path_alone(value: Any) -> Any:
    return {"json": value} if isinstance(value, str) else value


CaptureField = Annotated[Capture, BeforeValidator(_path_alone, json_schema_input_type=str | Capture)]
