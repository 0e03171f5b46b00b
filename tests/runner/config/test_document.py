from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from runner.config.document import DEEPEST, LARGEST_FILE, MOST_NODES, parse, read
from runner.config.errors import PlanError
from runner.config.nodes import Items, Keys, Node, Scalar, core


def plain(node: Node) -> Any:
    """Takes the places away."""
    if isinstance(node, Keys):
        return {key: plain(entry.node) for key, entry in node.entries.items()}
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return node.value


def value(text: str) -> Any:
    """Reads one value."""
    return plain(parse(f"a: {text}\n".encode(), "checks.yaml"))["a"]


def read_or_refused(data: bytes) -> bool:
    """Whether a file is read, or at least one problem is said."""
    try:
        parse(data, "checks.yaml")
    except PlanError as error:
        return bool(error.problems)
    return True


def refused(data: str | bytes) -> str:
    """Says why a file isn't read."""
    with pytest.raises(PlanError) as error:
        parse(data.encode() if isinstance(data, str) else data, "checks.yaml")
    return str(error.value)


@pytest.mark.parametrize("word", "no NO on off yes y 1:30 2026-12-01 2026-12-01T03:00:00Z 0b11 1_000 0o8 = + -. .".split())
def test_words_stay_words(word: str) -> None:
    """What YAML 1.1 made booleans, sexagesimals and dates of is text, as YAML 1.2's core schema says."""
    assert value(word) == word


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0o17", 15),
        ("0x1f", 31),
        ("0123", 123),
        ("-7", -7),
        ("+7", 7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("false", False),
        ("~", None),
        ("null", None),
        ("", None),
        ('"5"', "5"),
        ("'true'", "true"),
        ("!!str 5", "5"),
    ],
)
def test_the_core_schema_types_plain_scalars(text: str, expected: object) -> None:
    """Numbers, true, false and null are what YAML 1.2's core schema says; quotes make a text of anything."""
    found = value(text)
    assert (type(found), found) == (type(expected), expected)


def test_nan_is_a_number() -> None:
    """.nan is the float that is no number."""
    assert math.isnan(value(".nan"))


def test_every_key_and_value_knows_its_place() -> None:
    """Line and column count from 1, as editors do, in block and flow style and behind a byte order mark."""
    root = parse("\ufeffa: 1\nb:\n  - ä: x\n  - {c: 'd'}\n".encode(), "checks.yaml")
    items = root.get("b")
    assert isinstance(items, Items)
    first, second = items.items
    assert isinstance(first, Keys)
    assert isinstance(second, Keys)
    places = [root.entries["a"].at, root.entries["a"].node.at, first.entries["ä"].node.at, second.entries["c"].node.at]
    assert [(at.line, at.column) for at in places] == [(1, 1), (1, 4), (3, 8), (4, 9)]


def test_a_placeholder_knows_its_place_within_a_text() -> None:
    """Each ${ of a value has a place of its own, in a block of several lines too."""
    root = parse(b'a: "x ${A} ${B}"\nb: |\n  one\n  two ${C}\n', "checks.yaml")
    a, b = root.get("a"), root.get("b")
    assert isinstance(a, Scalar)
    assert isinstance(b, Scalar)
    assert [(m.line, m.column) for m in (*a.holes, *b.holes)] == [(1, 7), (1, 12), (4, 7)]


def test_merge_keys_fill_in_what_is_not_written() -> None:
    """`<<` takes one mapping or several; what is written wins over what is merged, and the first over the later ones."""
    text = b"x-a: &a {p: 1, q: 1}\nx-b: &b {q: 2, r: 2}\none: {<<: *a, q: 3}\ntwo: {<<: [*b, *a]}\n"
    found = plain(parse(text, "checks.yaml"))
    assert (found["one"], found["two"]) == ({"q": 3, "p": 1}, {"q": 2, "r": 2, "p": 1})


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """Of a file of 20 MB no more than the limit is read, and nothing of it is parsed."""
    file = tmp_path / "checks.yaml"
    file.write_bytes(b"a: 1\n" * 4_000_000)
    started = time.process_time()  # by this process's own time: what else the machine does counts for nothing
    with pytest.raises(PlanError, match="larger than 16 MB"):
        read(file)
    assert time.process_time() - started < 0.5


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A missing file and a folder are problems like any other, with the file's name."""
    nothing = "there is no such file; name yours with --config FILE or OUTRIDER_CONFIG, or write a first one with outrider init"
    for path, why in ((tmp_path / "none.yaml", nothing), (tmp_path, "can't be read: Is a directory")):
        with pytest.raises(PlanError) as error:
            read(path)
        assert str(error.value) == f"{path}  {why}\n1 error; nothing was started"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "checks.yaml  is empty"),
        (b"\xef\xbb\xbf", "checks.yaml  is empty"),
        (b"a: 1\nb: \xff", "checks.yaml:2:4  is not UTF-8"),
        ("a: 1".encode("utf-16"), "checks.yaml:1:1  is not UTF-8"),
        (b"a: \x00", "checks.yaml:1:4  a control character (U+0000)"),
        (b"a: 1\nb: '\x1b[31m'", "checks.yaml:2:5  a control character (U+001B)"),
        ("a: 1\u2028b: 2".encode(), "checks.yaml:1:5  a control character (U+2028)"),
        (b"a: " + b"9" * 200, "checks.yaml:1:4  a number of 200 digits; put it in quotes"),
        (b"%YAML 3.0\n---\na: 1\n", "checks.yaml:1:1  can't be read as YAML"),
    ],
)
def test_bytes_that_are_no_text_are_refused(data: bytes, said: str) -> None:
    """What is empty, not UTF-8 or holds control characters is told with its place."""
    assert refused(data).startswith(said)


LARGE = {
    "lists": "[" * 900_000,
    "mappings": "{" * 900_000,
    "blocks": "- " * 450_000,
    "questions": "? " * 450_000,
    "items": "a: [" + "1," * 450_000 + "]",
    "anchors": "&a " * 300_000,
    "text": "k: '" + "x" * 900_000 + "'",
    "placeholders": "k: '" + "${A:-" * 180_000 + "'",
}


def test_each_bound_of_a_file_is_allowed(tmp_path: Path) -> None:
    """A file of as many bytes, values and levels as may be is read; one more of any is refused."""
    file = tmp_path / "checks.yaml"
    for size, fits in ((LARGEST_FILE, True), (LARGEST_FILE + 1, False)):
        file.write_bytes(b"a: 1\n#" + b"x" * (size - 6))
        assert _is_read(lambda: read(file)) is fits
    for count, fits in ((MOST_NODES // 1000, True), (MOST_NODES // 1000 + 1, False)):  # a list of 999 values, that many times more
        text = b"a: &a [" + b"1," * 999 + b"]\nb: [" + b"*a," * count + b"]"
        assert _is_read(lambda text=text: parse(text, "checks.yaml")) is fits  # type: ignore[misc]
    for depth, fits in ((DEEPEST - 1, True), (DEEPEST, False)):  # below the mapping
        text = b"a: " + b"[" * depth + b"]" * depth
        assert _is_read(lambda text=text: parse(text, "checks.yaml")) is fits  # type: ignore[misc]


@pytest.mark.slow
def test_values_that_are_written_out_are_no_bomb() -> None:
    """A file of 50,000 checks is read: only what aliases add is counted, since the file's size bounds the rest."""
    text = "version: 1\nchecks:\n" + "".join(f"  c{n}: {{kind: tcp, host: h, port: 1, tags: [a]}}\n" for n in range(50_000))
    checks = parse(text.encode(), "checks.yaml").get("checks")
    assert isinstance(checks, Keys)
    assert len(checks.entries) == 50_000


def _is_read(reading: Callable[[], object]) -> bool:
    try:
        reading()
    except PlanError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE.keys())
def test_reading_takes_time_in_proportion_to_the_file(text: str) -> None:
    """No file within the limit keeps the reader busy: depth and values are bounded, and nothing is scanned twice."""
    assert len(text) <= LARGEST_FILE
    started = time.perf_counter()
    assert read_or_refused(text.encode())
    assert time.perf_counter() - started < 5


def test_a_merged_bomb_is_bounded() -> None:
    """Merging what was merged counts every value it makes, and ends as an alias bomb does."""
    lines = ["x0: &x0 {" + ", ".join(f"k{n}: 1" for n in range(100)) + "}"]
    lines += [f"x{n}: &x{n} {{" + ", ".join(f"m{k}: *x{n - 1}" for k in range(40)) + "}" for n in range(1, 6)]
    assert "more than 100,000 values" in refused("\n".join(lines))


@given(st.text(max_size=60))
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    """Whatever a file holds, it is read, or PlanError says what is wrong with it."""
    assert read_or_refused(text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=60))
def test_no_bytes_make_the_reader_stumble(data: bytes) -> None:
    """As above, for bytes that are no text."""
    assert read_or_refused(data)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`#?, \n\t\r<", max_size=40))
@example("&a 1\n\rb:\n  a: &x {c, s")  # found by the fuzzer: a carriage return alone is a line break, too
def test_no_play_of_yaml_signs_makes_the_reader_stumble(text: str) -> None:
    """As above, for texts made of YAML's own signs."""
    assert read_or_refused(f"a: {text}".encode())


WORDS = st.text(alphabet=st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")), max_size=20)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(WORDS, DATA, min_size=1, max_size=4))
def test_what_was_written_is_what_is_read(data: dict[str, Any]) -> None:
    """Data written by another YAML writer, texts in quotes, comes back as it was."""
    quoted = yaml.dump(data, Dumper=_Quoting, allow_unicode=True, width=10_000)
    assert plain(parse(quoted.encode(), "checks.yaml")) == data


class _Quoting(yaml.SafeDumper):
    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"')


_Quoting.add_representer(str, _Quoting.represent_str)


@given(st.text(alphabet="+-0123456789.eExoabfnintrulsNITF~", max_size=12))
def test_no_scalar_makes_the_schema_stumble(text: str) -> None:
    """Any plain scalar is null, a boolean, a number or the text itself."""
    found = core(text)
    assert found is None or found == text or isinstance(found, int | float)
