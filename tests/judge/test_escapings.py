"""A secret that other hands have escaped is found: each way of escaping, and each way inside another one."""

from __future__ import annotations

import base64
import html
import json
import re
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from judge.escapings import Flood, Work, unescapings
from judge.redact import MOST, REPLACEMENT, Redactor

BEARER = "Zq+7/w&R<t>9\"u'Km=Xv-0123456789"
SPECIAL = re.compile(r"[^A-Za-z0-9]")
Way = Callable[[str], str]


def _each(pattern: str, write: Callable[[str], str]) -> Way:
    return lambda text: re.sub(pattern, lambda found: write(found[0]), text, flags=re.DOTALL)


def _json_escape(sign: str) -> str:
    units = sign.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _percent(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def _named(sign: str) -> str:
    names = {"+": "&plus;", "=": "&equals;", '"': "&quot;", "'": "&apos;", "<": "&lt;", "&": "&amp;", "/": "&sol;", "%": "&percnt;"}
    return names.get(sign, f"&#{ord(sign)};")


WAYS: dict[str, Way] = {
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, not ASCII": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "Go and Rails JSON": lambda text: _each("[<>&]", _json_escape)(json.dumps(text, ensure_ascii=False)[1:-1]),
    "PHP JSON": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    ".NET JSON": _each("[^A-Za-z0-9]", lambda sign: _json_escape(sign).upper().replace("\\U", "\\u")),
    "JSON, each sign": _each(".", _json_escape),
    "JavaScript": _each("[^A-Za-z0-9]", lambda sign: f"\\x{ord(sign):02x}" if ord(sign) < 256 else f"\\u{{{ord(sign):x}}}"),
    "octal": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "shell": _each("[^A-Za-z0-9\n]", lambda sign: f"\\{sign}"),
    "Python": lambda text: repr(text)[1:-1],
    "Python bytes": lambda text: repr(text.encode())[2:-1],
    "HTML": html.escape,
    "HTML text": lambda text: html.escape(text, quote=False),
    "HTML, decimal": _each("[^A-Za-z0-9]", lambda sign: f"&#{ord(sign)};"),
    "HTML, hexadecimal": _each(".", lambda sign: f"&#x{ord(sign):X};"),
    "HTML, named": _each("[^A-Za-z0-9]", _named),
    "percent": lambda text: quote(text, safe=""),
    "path": lambda text: quote(text, safe="/:"),
    "form": quote_plus,
    "percent, each byte": _percent,
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "IIS": _each("[^A-Za-z0-9\U00010000-\U0010ffff]", lambda sign: f"%u{ord(sign):04X}"),
    "UTF-16": lambda text: text.encode("utf-16-le").decode("utf-8", "replace"),
    "UTF-16, big end first": lambda text: text.encode("utf-16-be").decode("utf-8", "replace"),
    "Latin-1": lambda text: text.encode("latin-1", "replace").decode("utf-8", "replace"),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 behind one": lambda text: base64.b64encode(f":{text}".encode()).decode(),
    "base64 behind two": lambda text: base64.b64encode(f"me{text}:".encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 of UTF-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "base64 in lines": lambda text: base64.encodebytes(text.encode() * 3).decode(),
    "hex": lambda text: text.encode().hex(),
    "hex in capitals": lambda text: text.encode().hex().upper(),
    "hex with colons": lambda text: text.encode().hex(":"),
}
LOSSY = ("Latin-1", "UTF-16", "UTF-16, big end first")  # of what isn't ASCII: readers see what is left of it
secrets = st.text(st.characters(exclude_characters="*", exclude_categories=["Cs"]), min_size=8, max_size=40).filter(
    lambda text: len(set(text)) >= 4 and text.strip() == text
)


@pytest.mark.parametrize("way", WAYS)
def test_a_bearer_token_is_found_in_everyday_escapings(way: str) -> None:
    """XM9: whoever wrote the text, the token is gone from it, and what stands around it stays."""
    written = WAYS[way](BEARER)
    redacted = Redactor({BEARER}).text(f'{{"token": "{written}", "rest": 1}}')
    assert written not in redacted
    assert REPLACEMENT in redacted
    assert redacted.startswith('{"token": "')
    assert redacted.endswith('", "rest": 1}')
    assert len(redacted) <= len(f'{{"token": "{REPLACEMENT}", "rest": 1}}') + 8  # of base64, the group that it shares with its neighbours


@given(secret=secrets, inner=st.sampled_from(sorted(WAYS)), outer=st.sampled_from(sorted(set(WAYS) - set(LOSSY))))
@example(secret="日本語のトークン", inner="UTF-16", outer="Python bytes")
@settings(max_examples=300, deadline=None)
def test_a_secret_is_found_in_any_escaping_inside_another(secret: str, inner: str, outer: str) -> None:
    """XM9: any secret, escaped twice in any two ways, is gone."""
    if inner in LOSSY and not secret.isascii():
        inner = "JSON"
    written = WAYS[outer](WAYS[inner](secret))
    redacted = Redactor({secret}).text(f"[{written}]")
    assert REPLACEMENT in redacted
    assert written not in redacted


@given(secret=secrets, way=st.sampled_from(sorted(WAYS)))
@settings(max_examples=200, deadline=None)
def test_a_tree_is_searched_as_thoroughly_as_a_text(secret: str, way: str) -> None:
    """XM9: an echoed secret is found in a value, in a key and in bytes."""
    written = WAYS[way](secret) if way not in LOSSY or secret.isascii() else secret
    redacted = Redactor({secret}).tree({"body": f"<{written}>", f"<{written}>": [f"<{written}>".encode()], "n": 5})
    assert written not in json.dumps(redacted, ensure_ascii=False)
    assert str(redacted).count(REPLACEMENT) >= 3


@pytest.mark.parametrize(
    "text",
    [
        "%41" * (MOST // 3),
        "\\u0041" * (MOST // 6),
        "&#65;" * (MOST // 5),
        "QUJD" * (MOST // 4),
        "QUJD+" * (MOST // 5),
        "41" * (MOST // 2),
        "…" * MOST,
        "%" * MOST,
        "\\" * MOST,
        "&" * MOST,
        "%25" * (MOST // 3),
        "%41a" * (MOST // 4),
        "%41\\u0041&#65;" * (MOST // 14),
        "A\0" * (MOST // 2),
        "a+" * (MOST // 2),
    ],
    ids=lambda text: text[:6],
)
def test_a_flood_of_escapes_costs_little(text: str) -> None:
    """XM9: what a target sends can't make the runner search for long."""
    redactor = Redactor({BEARER, "x" * 300})
    started = time.process_time()
    redactor.tree({"body": text, "headers": {"x": text[:8000]}})
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("text", ["%41a", "\\x41a", "\\u0041", "&#65;", "A\0", "a+", "a\n ", "0123456789a "], ids=repr)
def test_what_is_undone_one_by_one_is_counted(text: str) -> None:
    """XM9: whatever the escapes are made of, no more than the work allows are undone, so that the loop is given back within 50 ms."""
    work = Work(escapes=100)
    with pytest.raises(Flood):
        list(unescapings(text.encode() * 110, work, plus=True))
    assert work.escapes == -1
    assert Redactor({BEARER, "a b c d"}).text(text * 20_000).startswith("… (")


@pytest.mark.parametrize("escaped", ["%41", "\\x41"])
def test_a_row_of_escapes_is_undone_at_once(escaped: str) -> None:
    """XM9: 64 KiB of %41 count as one escape, and a secret in them is found where it stands."""
    work = Work()
    list(unescapings(f"<{escaped * 21_000}>".encode(), work, plus=True))
    assert work.escapes > Work().escapes - 20
    secret = "".join(f"{escaped[:-2]}{byte:02x}" for byte in b"hunter2-secret")
    text = f"{escaped * 1000}{secret}{escaped * 1000}"
    assert Redactor({"hunter2-secret"}).text(text) == f"{escaped * 1000}{REPLACEMENT}{escaped * 1000}"
