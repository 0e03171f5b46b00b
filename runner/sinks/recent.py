"""The recent runs of one check in little memory: some 100 bytes a run, where an observation takes 800.

They are kept as bytes, oldest first, and become observations again when somebody reads them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

from judge.observation import Check, Observation
from probes.core import Reason, Verdict
from probes.facts import step_of

_HEAD = struct.Struct("<ddIH16s")  # when, seconds, the form's number, bytes of the message, trace id
_TRACE = 16  # bytes of a trace id
_SAME = 0xFFFF  # instead of the message's length: the message of the run before


class Form(NamedTuple):
    """What many runs have in common: everything but times, message and trace."""

    verdict: Verdict
    reason: Reason | None
    maintenance: bool
    responded: bool
    halted_in: str
    traced: bool
    found: bool  # whether a finding follows the message, after a NUL
    phases: tuple[str, ...]
    steps: tuple[str, ...]


class Forms:
    """The forms of all runs that are remembered, by number. There are few: their names are those of checks.yaml and of the kinds."""

    def __init__(self) -> None:
        self._numbers: dict[Form, int] = {}
        self.all: list[Form] = []

    def number(self, form: Form) -> int:
        """The number of a form."""
        if (number := self._numbers.get(form)) is None:
            number = self._numbers[form] = len(self.all)
            self.all.append(form)
        return number


class Recent:
    """At most `keep` recent runs, without their evidence, of their facts only the seconds of steps."""

    __slots__ = ("_before", "_count", "_forms", "_last", "_rows", "keep")

    def __init__(self, forms: Forms, keep: int) -> None:
        self.keep = keep
        self._forms = forms
        self._rows = bytearray()
        self._count = 0
        self._before = b""  # the message of the run before the first one that is kept
        self._last = b""

    def append(self, seen: Observation) -> None:
        """Remembers a run, and forgets the oldest where there are too many."""
        steps = {name: value for name, value in seen.facts.items() if step_of(name) and isinstance(value, int | float)}
        try:
            trace = bytes.fromhex(seen.trace_id)
        except ValueError:
            trace = b""
        traced = len(trace) == _TRACE and trace.hex() == seen.trace_id
        shape = seen.verdict, seen.reason, seen.maintenance, seen.responded, seen.halted_in, traced, bool(seen.finding)
        form = Form(*shape, tuple(seen.phases), tuple(steps))
        text = f"{seen.message}\0{seen.finding}" if seen.finding else seen.message
        message = text.encode("utf-8", "surrogatepass")
        message = message if len(message) < _SAME else b""  # the engine has cut it long before
        same = self._count > 0 and message == self._last
        numbers = (*seen.phases.values(), *steps.values())
        self._rows += _HEAD.pack(seen.at, seen.seconds, self._forms.number(form), _SAME if same else len(message), trace if traced else b"")
        self._rows += struct.pack(f"<{len(numbers)}d", *numbers)
        self._rows += b"" if same else message
        self._last = message
        self._count += 1
        self.resize(self.keep)

    def resize(self, keep: int) -> None:
        """Keeps so many from now on."""
        self.keep = keep
        while self._count > keep:
            _, _, number, length, _ = _HEAD.unpack_from(self._rows)
            end = _HEAD.size + 8 * _numbers(self._forms.all[number])
            if length != _SAME:
                self._before = bytes(self._rows[end : end + length])
                end += length
            del self._rows[:end]
            self._count -= 1

    def of(self, check: Check) -> Runs:
        """The runs that are remembered now, as those of a check."""
        return Runs(check, self._forms, bytes(self._rows), self._count, self._before)


class Runs(Sequence[Observation]):
    """Recent runs, oldest first. They become observations when one of them is read."""

    def __init__(self, check: Check, forms: Forms, rows: bytes, count: int, before: bytes) -> None:
        self._check = check
        self._forms = forms
        self._rows = rows
        self._count = count
        self._before = before
        self._made: tuple[Observation, ...] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Observation: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Observation, ...]: ...
    def __getitem__(self, index: int | slice) -> Observation | tuple[Observation, ...]:
        if self._made is None:
            self._made = tuple(self._observations())
        return self._made[index]

    def _observations(self) -> Iterator[Observation]:
        place, text = 0, self._before.decode("utf-8", "surrogatepass")
        for _ in range(self._count):
            at, seconds, number, length, trace = _HEAD.unpack_from(self._rows, place)
            form = self._forms.all[number]
            place += _HEAD.size
            numbers = struct.unpack_from(f"<{_numbers(form)}d", self._rows, place)
            place += 8 * len(numbers)
            if length != _SAME:
                text = self._rows[place : place + length].decode("utf-8", "surrogatepass")
                place += length
            message, _, finding = text.rpartition("\0") if form.found else (text, "", "")
            yield Observation(
                check=self._check,
                verdict=form.verdict,
                reason=form.reason,
                message=message,
                at=at,
                seconds=seconds,
                phases=dict(zip(form.phases, numbers, strict=False)),
                facts=dict(zip(form.steps, numbers[len(form.phases) :], strict=True)),
                finding=finding,
                trace_id=trace.hex() if form.traced else "",
                maintenance=form.maintenance,
                responded=form.responded,
                halted_in=form.halted_in,
            )


def _numbers(form: Form) -> int:
    return len(form.phases) + len(form.steps)
