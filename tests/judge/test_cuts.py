"""A cut leaves no piece of a secret: texts are cut after they are redacted, in one place."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge.matching import HEAD
from judge.redact import REPLACEMENT, Redactor
from probes.expect.patterns import shown
from probes.text import clipped, visible

ROOT = Path(__file__).parents[2]
TOKEN = "".join(f"L{n:02d}ng-a{n % 7}" for n in range(40))
tokens = st.text(st.sampled_from("abcdefghijkmnopqrstuvwxyzABCDEFG0123456789-_."), min_size=16, max_size=600).filter(
    lambda text: len(set(text)) > 8
)


def leaked(text: str, secret: str, length: int = HEAD + 2) -> list[str]:
    """The pieces of a secret of this length that stand in a text."""
    return [piece for piece in (secret[at : at + length] for at in range(len(secret) - length + 1)) if piece in text]


@pytest.mark.parametrize("padding", [0, 18, 40, 60, 72, 77, 78, 79, 200])
def test_a_long_token_that_is_echoed_leaves_nothing_of_it(padding: int) -> None:
    """XM10: a message shows 80 characters of a value, and none of them is the token's."""
    message = f"$.echo is {shown('x' * padding + TOKEN)}, expected {shown('ready')}"
    redacted = Redactor({TOKEN}).text(message)
    assert leaked(redacted, TOKEN) == []
    assert redacted.startswith('$.echo is "')
    assert redacted.endswith(', expected "ready"')
    assert len(redacted) <= len('$.echo is , expected "ready"') + 80


@given(secret=tokens, padding=st.integers(0, 220), most=st.sampled_from([60, 80, 120, 160, 200]), behind=st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_cut_leaves_a_piece(secret: str, padding: int, most: int, behind: str) -> None:
    """XM10: whatever the secret, where it stands and how much is shown."""
    for value in (f"{'-' * padding}{secret}{behind}", {"e": ["-" * padding, secret, behind]}):
        redacted = Redactor({secret}).text(f"it begins {shown(value, most)}; more")
        assert leaked(redacted, secret) == []
        assert redacted.startswith("it begins ")
        assert redacted.endswith("; more")
        assert len(redacted) <= most + len("it begins ; more")


@given(secret=tokens, kept=st.integers(HEAD, 600), ellipsis=st.sampled_from(["…", "..."]), escaped=st.booleans())
@settings(max_examples=200, deadline=None)
def test_what_a_target_has_cut_itself_is_gone(secret: str, kept: int, ellipsis: str, escaped: bool) -> None:  # noqa: FBT001 - drawn
    """XM10: the beginning of a secret before an ellipsis, and its end behind one, in an escaped text too."""
    redactor = Redactor({secret})
    for text in (f"token {secret[:kept]}{ellipsis} is wrong", f"token {ellipsis}{secret[-kept:]} is wrong"):
        written = "".join(f"\\u{ord(sign):04x}" if sign in "-_.aeiou" else sign for sign in text[6:-9]) if escaped else text[6:-9]
        redacted = redactor.text(f"token {written} is wrong")
        assert REPLACEMENT in redacted
        assert redacted.startswith("token ")
        assert redacted.endswith(" is wrong")


@pytest.mark.parametrize("kept", range(HEAD, 17))
def test_the_end_of_a_secret_at_the_beginning_of_a_long_text_is_gone(kept: int) -> None:
    """XM10: of a text whose beginning was dropped in the middle of a secret."""
    secret = "hunter2-hunter2-x"
    assert Redactor({secret}).text(secret[-kept:] + " " * 500) == REPLACEMENT + " " * 500


def test_a_marked_part_inside_another_is_cut_once() -> None:
    """A message that repeats another message shows of it what it says, and no mark is seen."""
    inner = f"the server says {shown('y' * 500)}"
    assert Redactor(()).text(clipped(inner, 30)) == 'the server says "yyyyyyyyyyyy…'
    assert Redactor(()).text(clipped(inner, 5000)) == f'the server says "{"y" * 500}"'


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300), most=st.integers(10, 200))
@settings(max_examples=150, deadline=None)
def test_a_part_is_cut_to_its_length(text: str, most: int) -> None:
    """Without secrets a part is what it was, or its beginning with an ellipsis; marks that a target sends mean nothing."""
    clean = text.replace("\ufdd0", "\ufffd").replace("\ufdd1", "\ufffd")
    shown_whole = visible(clean)
    cut = len(text) > most and len(shown_whole) > most
    assert Redactor(()).text(clipped(text, most)) == (f"{shown_whole[: most - 1]}…" if cut else shown_whole)


def test_a_target_can_not_join_what_it_has_split() -> None:
    """XM10: the marks around a part are gone before secrets are looked for, so that none is put together by their removal."""
    redacted = Redactor({"hunter2-hunter2"}).text("a hunter2\ufdd09:-hunter2\ufdd1 b")
    assert redacted == f"a {REPLACEMENT}{REPLACEMENT} b"


def _cuts(path: Path) -> Iterator[str]:
    """Where a source cuts a text for a person: a precision in a format, and a slice up to 20 characters or more in a message."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            spec = "".join(str(part.value) for part in ast.walk(node.format_spec) if isinstance(part, ast.Constant))
            if re.fullmatch(r"[<>^]?\d*\.\d+", spec):
                yield f"{path.relative_to(ROOT)}:{node.lineno} :{spec}"
        told = isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Call) and ast.unparse(node.func) in ("shown", "clipped"))
        slices = [inner for inner in ast.walk(node) if isinstance(inner, ast.Subscript) and isinstance(inner.slice, ast.Slice)]
        for inner in slices if told else ():
            upper = inner.slice.upper if isinstance(inner.slice, ast.Slice) else None
            if isinstance(upper, ast.Constant) and isinstance(upper.value, int) and upper.value >= 20:
                yield f"{path.relative_to(ROOT)}:{inner.lineno} [:{upper.value}]"


def test_no_other_place_cuts() -> None:
    """XM10: what a kind tells of a target is cut by `clipped` and `shown`, and nowhere else in probes/ and judge/."""
    found = [cut for folder in ("probes", "judge") for path in sorted((ROOT / folder).rglob("*.py")) for cut in _cuts(path)]
    assert found == []


def test_a_tree_is_cut_too() -> None:
    """XM10: evidence that is kept in part is searched for secrets before."""
    tree = {"body": clipped("z" * 60 + TOKEN + "z" * 900, 100)}
    redacted = Redactor({TOKEN}).tree(tree)
    assert redacted == {"body": f"{'z' * 60}{REPLACEMENT}{'z' * 36}…"}
    assert leaked(json.dumps(redacted), TOKEN) == []
