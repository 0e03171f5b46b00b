"""The dialogue with a server, step by step: its settings, and a buffer that reads lines or bytes. Pure: no socket."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema, model_validator

from probes.core import Failed, Reason
from probes.expect.patterns import Pattern, shown
from probes.expect.template import refuse_variables, variables
from probes.text import clipped, count

LINE_CAP = 64 * 1024  # bytes of one line
CAP = 1024 * 1024  # bytes of a whole dialogue
LINES = 10_000  # lines of a whole dialogue: each is searched on the loop, and a megabyte of empty lines would block it for seconds
UNFINISHED = 2048  # characters of an unfinished line that a failure keeps
KEPT = 20  # lines that a failure keeps as evidence
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+\Z")


def _bytes(text: Any) -> Any:
    """`00000008 04d2162f`: pairs of hex digits, with spaces where they help."""
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str) or not _HEX.match(plain := "".join(text.split())):
        raise ValueError("write bytes as pairs of hex digits, in quotes, such as '00000008 04d2162f'")
    return bytes.fromhex(plain)


Hex = Annotated[bytes, BeforeValidator(_bytes), WithJsonSchema({"type": "string", "description": "bytes as pairs of hex digits"})]


class DialogueStep(BaseModel):
    """One step: first wait for a line or bytes, then send, then start TLS; each of them is optional."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    expect: Pattern | None = Field(default=None, description="Wait for a line in which this regular expression (RE2) is found.")
    reject: Pattern | None = Field(
        default=None,
        description="A regular expression (RE2): a line that matches it before the expected one fails the run with reason status.",
    )
    expect_hex: Hex | None = Field(default=None, description="The next bytes must be these, in hex.")
    send: SecretStr | None = Field(default=None, description="A line to send; {{name}} is what a group (?P<name>...) captured before.")
    send_hex: Hex | None = Field(default=None, description="Bytes to send, in hex; no line end is added.")
    starttls: bool = Field(default=False, description="Start TLS after this step, with the check's `tls` settings.")
    labels: dict[str, str] = Field(default={}, description="Labels of probe_expect_info, such as version: '{{version}}'.")

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if self.expect and self.expect_hex is not None:
            raise ValueError("give either expect or expect_hex")
        if self.send and self.send_hex is not None:
            raise ValueError("give either send or send_hex")
        if (self.reject or self.labels) and not self.expect:
            raise ValueError(f"{'reject' if self.reject else 'labels'} goes with expect")
        if not (self.expect or self.expect_hex or self.send or self.send_hex or self.starttls):
            raise ValueError("an empty step; write expect, send or starttls")
        refuse_variables((self.expect, self.reject))
        return self

    def groups(self) -> Iterator[str]:
        """The names that its regular expression captures."""
        return iter(self.expect.compiled.groupindex if self.expect else ())

    def used(self) -> Iterator[str]:
        """The names of its variables, those of the labels first. Raises ValueError for a `{{` that begins no variable."""
        yield from variables(self.labels)
        yield from variables(self.send)


Dialogue = Annotated[tuple[DialogueStep, ...], Field(max_length=50)]


def judge_names(steps: tuple[DialogueStep, ...]) -> None:
    """Raises ValueError where a step uses a name that no step up to it captures."""
    known: set[str] = set()
    for number, step in enumerate(steps, 1):
        known |= set(step.groups())
        for name in step.used():
            if name not in known:
                raise ValueError(f"step {number} uses {{{{{name}}}}}, which no (?P<{name}>...) before it captures")


class ReceiveBuffer:
    """Received data that no step has taken yet, read as lines or as bytes. Its size is bounded."""

    def __init__(self) -> None:
        self._left = bytearray()
        self._seen = 0  # bytes of _left that contain no line end
        self._all = 0
        self._taken = 0  # lines
        self.lines: list[str] = []  # the last lines that were taken

    def feed(self, data: bytes) -> None:
        """Adds received data. Raises Failed(size) beyond CAP."""
        self._left += data
        self._all += len(data)
        if self._all > CAP:
            raise Failed(Reason.SIZE, f"the server sent more than {CAP // 1024} KiB")

    def left(self) -> int:
        """How many received bytes no step has taken."""
        return len(self._left)

    def line(self) -> str | None:
        """The next whole line without its line end, or None before it is complete.

        Raises Failed(size) for a line above LINE_CAP, and for more than LINES lines.
        """
        at = self._left.find(b"\n", self._seen)
        if (len(self._left) if at < 0 else at) > LINE_CAP:
            raise Failed(Reason.SIZE, f"the server sent a line of more than {LINE_CAP // 1024} KiB")
        if at < 0:
            self._seen = len(self._left)
            return None
        line = bytes(self._left[:at]).rstrip(b"\r").decode("utf-8", "replace")
        del self._left[: at + 1]
        self._seen = 0
        self._taken += 1
        if self._taken > LINES:
            raise Failed(Reason.SIZE, f"the server sent more than {LINES:,} lines")
        self.lines = [*self.lines[1 - KEPT :], line]
        return line

    def take_bytes(self, wanted: bytes) -> bool:
        """Takes the wanted bytes and returns True, or False before all of them are there. Raises Failed(protocol) for other bytes."""
        came = bytes(self._left[: len(wanted)])
        if came != wanted[: len(came)]:
            raise Failed(Reason.PROTOCOL, f"the server sent the bytes {came.hex(' ')}, expected {wanted.hex(' ')}")
        if len(came) < len(wanted):
            return False
        del self._left[: len(wanted)]
        self._seen = 0
        return True

    def closed_failure(self, wanted: str) -> Failed:
        """The failure of a dialogue whose connection was closed: truncated in a line or before the first one, else body."""
        if self._left or not self.lines:
            came = f"after {len(self._left)} bytes of a response" if self._left else "before any response"
            return Failed(Reason.TRUNCATED, f"the connection was closed {came}; expected {wanted}")
        return Failed(Reason.BODY, f"the server closed the connection after {shown(self.lines[-1])}; expected {wanted}")

    def unfinished(self) -> str:
        """What has come of the next line, in words; "" where nothing has."""
        came = self._left[:LINE_CAP].decode("utf-8", "replace")
        return f"{shown(came)} had come without a line end" if came else ""

    def received(self) -> list[str]:
        """The last lines that were taken, and what has come of the next one, with how much that is."""
        if not self._left:
            return self.lines
        came = clipped(self._left[:LINE_CAP].decode("utf-8", "replace"), UNFINISHED)
        return [*self.lines[1 - KEPT :], f"{came} ({count(len(self._left), 'byte')} without a line end)"]

    def match(self, step: DialogueStep) -> Mapping[str, str] | None:
        """The groups of the expected line, or None before it is there. Raises Failed(status) for a rejected line before it."""
        assert step.expect is not None  # noqa: S101 - for the type checker; the caller asked
        while (line := self.line()) is not None:
            if found := step.expect.search(line):
                return {name: text or "" for name, text in found.groupdict().items()}
            if step.reject and step.reject.search(line):
                raise Failed(Reason.STATUS, f"the server sent {shown(line)}, expected {step.expect}")
        return None
