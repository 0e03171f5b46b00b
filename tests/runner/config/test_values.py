from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.placeholders import Environment, Unfilled, fill, parse

NAMES = ("A", "B_2", "EMPTY", "NOT_SET")


def filled(text: str, folder: Path = Path("/nowhere"), **environ: str) -> str:
    """Fills a text in from these variables and this folder."""
    return fill(parse(text), Environment(environ, folder)).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${A}", "1"),
        ("x${A}y${A}", "x1y1"),
        ("${NOT_SET:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"),
        ("${EMPTY}", ""),
        ("${NOT_SET:-}", ""),
        ("${NOT_SET:-${A}-${EMPTY:-2}}!", "1-2!"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A {A} $.path }", "$A {A} $.path }"),
        ("${NOT_SET:-a:b, [c]}", "a:b, [c]"),
        ("${YAML}", "{a: [1, *b]} # ${A}"),
    ],
)
def test_placeholders_are_filled_in(text: str, expected: str) -> None:
    """Names, defaults and nesting work as said; a value is never read again, neither as YAML nor for placeholders."""
    assert filled(text, A="1", EMPTY="", YAML="{a: [1, *b]} # ${A}") == expected


@pytest.mark.parametrize(
    ("text", "hole", "said"),
    [
        ("${NOT_SET}", 0, "NOT_SET is not set"),
        ("${A} ${NOT_SET}", 1, "NOT_SET is not set"),
        ("${NOT_SET:-${ALSO_NOT}}", 1, "ALSO_NOT is not set"),
        ("$${x} ${1}", 1, "write ${NAME}"),
        ("${}", 0, "write ${NAME}"),
        ("${A", 0, "never closed"),
        ("${A:-x", 0, "never closed"),
        ("${A-x}", 0, "write ${NAME}"),
        ("${file:none}", 0, "/nowhere/none can't be read: No such file or directory"),
        ("${file:a\0b}", 0, "can't be read"),
        ("${A:-" * 30 + "x" + "}" * 30, 20, "nested more than 20 deep"),
    ],
)
def test_what_cannot_be_filled_in_is_said_with_its_place(text: str, hole: int, said: str) -> None:
    """An unset name, a form that is none and a file that isn't there name the placeholder that is to blame."""
    with pytest.raises(Unfilled, match=re.escape(said)) as error:
        filled(text, A="1")
    assert error.value.hole == hole


def test_a_file_is_taken_whole_but_for_its_last_newline(tmp_path: Path) -> None:
    """A relative path starts at the file's folder; one newline at the end, also a Windows one, is no part of a secret."""
    contents = {"one": b"a\n", "two": b"a\n\n", "three": b" a b ", "four": b"a\r\n", "five": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = [filled(f"${{file:${{DIR:-.}}/{name}}}", tmp_path) for name in contents]
    assert found == ["a", "a\n", " a b ", "a", ""]
    assert filled(f"${{file:{tmp_path}/one}}") == "a"


def test_only_plain_small_text_files_are_read(tmp_path: Path) -> None:
    """A pipe would hold the load for ever, and what is huge or no text is no secret."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge").write_bytes(b"x" * 2_000_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, said in (
        ("pipe", "is no regular file"),
        ("huge", "is larger than 1 MB"),
        ("binary", "is not UTF-8"),
        (".", "is no regular file"),
    ):
        with pytest.raises(Unfilled, match=said):
            filled(f"${{file:{name}}}", tmp_path)


def test_a_value_from_a_file_or_a_secret_variable_is_known_as_secret(tmp_path: Path) -> None:
    """Files and variables named like secrets are secrets, within a longer text too; other variables are none."""
    (tmp_path / "key").write_text("from-file\n")
    source = Environment({"AI_KEY": "from-variable", "PLAIN": "plain"}, tmp_path)
    found = fill(parse("${PLAIN}:${AI_KEY}@${file:key}"), source)
    assert (found.text, set(found.secrets)) == ("plain:from-variable@from-file", {"from-variable", "from-file"})


@given(st.text(max_size=40))
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    """With every ${ written as $${ any text is itself."""
    escaped = text.replace("${", "$${")
    if "$${" not in text and "$$" not in text:
        assert filled(escaped) == text


@given(st.text(alphabet="${}:-fileABN_2/ ", max_size=60), st.dictionaries(st.sampled_from(NAMES), st.text(max_size=8)))
def test_nothing_makes_the_placeholders_stumble(text: str, environ: dict[str, str]) -> None:
    """Whatever is written, it is filled in or said to be wrong at one of its placeholders."""
    hole = 0
    try:
        fill(parse(text), Environment(environ, Path("/nowhere")))
    except Unfilled as error:
        hole = error.hole
    assert 0 <= hole <= text.count("${")


@given(st.text(max_size=30).filter(lambda text: "\0" not in text))
def test_a_value_is_taken_literally(value: str) -> None:
    """No sign of a value means anything: it arrives as it was set."""
    assert filled("[${A}]", A=value) == f"[{value}]"
