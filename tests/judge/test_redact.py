"""No secret leaves in any form that an output may give it."""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from judge.redact import REPLACEMENT, Redactor

SECRET = "p@ss/wörd+\"<'1&2 %"
WAYS: dict[str, Callable[[str], str]] = {
    "as it is": lambda s: s,
    "in a query": lambda s: urlencode({"key": s}),
    "quoted": quote,
    "quoted whole": lambda s: quote(s, safe=""),
    "quoted in lower case": lambda s: quote(s, safe="").lower() if s == s.lower() else quote(s, safe=""),
    "with plus signs": quote_plus,
    "json": lambda s: json.dumps({"a": s}),
    "json, not ASCII": lambda s: json.dumps({"a": s}, ensure_ascii=False),
    "json in json": lambda s: json.dumps({"a": json.dumps({"b": s})}),
    "html": lambda s: f'<a title="{html.escape(s)}">',
    "html text": lambda s: f"<p>{html.escape(s, quote=False)}",
    "python": lambda s: f"x{s!r}",
    "hex": lambda s: s.encode().hex(),
}
secrets = st.text(st.characters(exclude_characters="*", exclude_categories=["Cs"]), min_size=4, max_size=24)


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_survives_in_no_form(way: str) -> None:
    """Each way of writing a secret is known."""
    written = WAYS[way](SECRET)
    redacted = Redactor({SECRET}).text(f"before {written} after")
    assert REPLACEMENT in redacted
    assert redacted.startswith("before ")
    assert redacted.endswith(" after")
    for piece in (SECRET, quote(SECRET, safe=""), json.dumps(SECRET)[1:-1]):
        assert piece not in redacted


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("user", ["", "u", "us", "use", "user"])
def test_basic_authentication_is_no_hiding_place(encode: Callable[[bytes], bytes], user: str) -> None:
    """Base64 is searched at every alignment, so a user's name of any length before the secret doesn't hide it."""
    token = encode(f"{user}:{SECRET}:tail".encode()).decode()
    redacted = Redactor({SECRET}).text(f"Authorization: Basic {token}")
    assert REPLACEMENT in redacted
    left = redacted.removeprefix("Authorization: Basic ").replace(REPLACEMENT, "")
    assert len(left) <= len(encode(f"{user}::tail".encode())) + 4


@given(secret=secrets, before=st.text(max_size=10), after=st.text(max_size=10))
@example(secret="0000", before="", after="0")
@settings(max_examples=150, deadline=None)
def test_whatever_the_secret_no_form_of_it_is_left(secret: str, before: str, after: str) -> None:
    """The property behind the rows above, with secrets, and texts around them, of any characters."""
    redactor = Redactor({secret})
    for write in (str, lambda s: quote(s, safe=""), quote_plus, lambda s: json.dumps(s)[1:-1], html.escape):
        written = write(secret)
        assert written not in redactor.text(before + written + after)


@given(first=secrets, second=secrets)
@settings(max_examples=50, deadline=None)
def test_of_two_secrets_the_longer_goes_first(first: str, second: str) -> None:
    """A secret that begins another doesn't leave the other's rest behind."""
    redactor = Redactor({first, first + second})
    assert redactor.text(f"[{first + second}]") == f"[{REPLACEMENT}]"


def test_short_secrets_are_replaced_only_as_whole_values() -> None:
    """A PIN of three digits isn't cut out of every number, and doesn't leave as a value of its own either."""
    redactor = Redactor({"123", "", "x"})
    assert redactor.text("port 12345") == "port 12345"
    assert redactor.tree({"pin": "123", "empty": "", "port": 123}) == {"pin": REPLACEMENT, "empty": "", "port": 123}


def test_trees_keep_their_shape() -> None:
    """Texts and keys are redacted at any depth; numbers, booleans and None stay what they are."""
    tree = {"a": [1, 2.5, True, None, "x-hunter2-y"], "hunter2": ("b", b"hunter2\xff"), "n": {"m": "clean"}}
    expected = {"a": [1, 2.5, True, None, f"x-{REPLACEMENT}-y"], REPLACEMENT: ["b", f"{REPLACEMENT}\\xff"], "n": {"m": "clean"}}
    assert Redactor({"hunter2"}).tree(tree) == expected


def test_the_lines_of_a_key_are_secrets_too() -> None:
    """A PEM key that is printed with an indent of its own doesn't leave."""
    lines = ["-----BEGIN PRIVATE KEY-----", "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49", "tail=", "-----END PRIVATE KEY-----"]
    redacted = Redactor({"\n".join(lines) + "\n"}).text("key:\n    " + "\n    ".join(lines))
    assert "MIGHAgEAMBMG" not in redacted


@pytest.mark.parametrize("kept", range(6, 17))
def test_a_secret_that_a_cut_has_halved_is_gone(kept: int) -> None:
    """A body of which only the beginning is kept may end in the middle of a secret; short texts are left alone."""
    redactor = Redactor({"hunter2-hunter2-x"})
    body = "x" * 500 + "hunter2-hunter2-x"[:kept]
    assert redactor.text(body) == "x" * 500 + REPLACEMENT
    assert redactor.tree({"body": body}) == {"body": "x" * 500 + REPLACEMENT}
    assert redactor.text("hunter") == "hunter"


def test_texts_that_are_no_valid_unicode_pass() -> None:
    """A lone surrogate, as a decoder with surrogateescape leaves it, is no accident."""
    assert Redactor({"hunter2"}).text("\udcff hunter2 \ud800") == f"\udcff {REPLACEMENT} \ud800"


def test_time_grows_with_the_text_and_not_with_the_secrets() -> None:
    """A hundred secrets and a long text that nearly holds them take less than a second."""
    redactor = Redactor({"a" * n + "b" for n in range(10, 110)})
    started = time.process_time()  # by this process's own time: what else the machine does counts for nothing
    innocent = "a" * 60_000 + ", and no secret"
    assert redactor.text(innocent) == innocent
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("sign", "seen"),
    [
        ("\x9b", "\\x9b"),
        ("\u202e", "\\u202e"),
        ("\u2028", "\\u2028"),
        ("\x00", "\\x00"),
        ("\x1b", "\\x1b"),
        ("\x7f", "\\x7f"),
        ("\u2066", "\\u2066"),
        ("\ufeff", "\\ufeff"),
        ("\t", "\t"),
        ("\n", "\n"),
        ("\r\n", "\r\n"),
        ("ö", "ö"),
        ("日", "日"),
        ("\u200d", "\u200d"),
    ],
)
def test_a_control_character_is_shown_and_not_obeyed(sign: str, seen: str) -> None:
    """m8: C0 and C1 controls, marks of direction and line separators are escapes in whatever leaves; text of any language stays."""
    assert Redactor(()).text(f"a{sign}b") == f"a{seen}b"
    assert Redactor({"hunter2"}).tree({f"k{sign}": [f"a{sign}b", f"hunter2{sign}"]}) == {f"k{seen}": [f"a{seen}b", f"{REPLACEMENT}{seen}"]}


def test_what_is_remembered_as_clean_stays_clean() -> None:
    """A text is looked at again as it was at first, however many others came between, and however long it is."""
    redactor = Redactor({"a-secret-of-the-plan"})
    texts = [f"200 in {number} ms" for number in range(1500)] + ["x" * 500, "a-secret-of-the-plan", "\x1b[2J", "a\u202eb"]
    first = [redactor.text(text) for text in texts]
    assert [redactor.text(text) for text in texts] == first
    assert first[-4:] == ["x" * 500, "***", r"\x1b[2J", r"a\u202eb"]
