"""What can't stand in a header is told when the file is read, with its place, its file and the character's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.config.errors import PlanError
from runner.config.read import read_plan

PLACES = {
    "a check's header": "checks: {c: {kind: http, url: 'http://h/', headers: {X-Who: '%s'}}}",
    "a target's header": "targets: {t: {url: 'http://h/', headers: {X-Who: '%s'}}}\nchecks: {c: {kind: http, target: t}}",
    "a WebSocket's header": "checks: {c: {kind: websocket, url: 'ws://h/', headers: {X-Who: '%s'}}}",
    "a WebSocket's origin": "checks: {c: {kind: websocket, url: 'ws://h/', origin: '%s'}}",
    "a call's metadata": "checks: {c: {kind: grpc, host: h, port: 1, metadata: {x-who: '%s'}}}",
    "a step's header": "targets: {t: {url: 'http://h/'}}\n"
    "checks: {c: {kind: journey, target: t, steps: [{name: a, get: /, headers: {X-Who: '%s'}}]}}",
    "a bearer": "checks: {c: {kind: http, url: 'http://h/', bearer: '%s'}}",
    "a model's key": "checks: {c: {kind: ai, url: 'http://h/', api: openai, model: m, prompt: p, key: '%s'}}",
    "a partner's key": "checks: {c: {kind: booking, url: 'http://h/', partner: opentable, search: {near: '1,1', party: 2}, key: '%s'}}",
}


def said(text: str, folder: Path) -> str:
    """What is wrong with a file; "" for nothing."""
    file = folder / "checks.yaml"
    file.write_text(f"version: 1\n{text}\n", "utf-8")
    try:
        read_plan(file, environ={})
    except PlanError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("José-0123456789", "LATIN SMALL LETTER E WITH ACUTE (U+00E9)"),
        ("\ufeffsk-0123456789", "ZERO WIDTH NO-BREAK SPACE (U+FEFF)"),
        ("sk—0123456789", "EM DASH (U+2014)"),
        ("sk-0123456789\nsecond", "a line break"),
        ("sk-0123456789\r\n\n", "a line break"),
        ("sk-\x000123456789", "a control character (U+0000)"),
        ("sk-0123456789\u200b", "ZERO WIDTH SPACE (U+200B)"),
    ],
    ids=["é", "BOM", "em dash", "second line", "empty second line", "NUL", "zero width"],
)
@pytest.mark.parametrize("place", PLACES)
def test_a_key_that_can_not_be_sent_is_told_at_load(place: str, content: str, words: str, tmp_path: Path) -> None:
    """S9: in every header, with the line, the file that it comes from and the character, and without the key."""
    (tmp_path / "key").write_text(content, "utf-8", newline="")
    found = said(PLACES[place] % "${file:key}", tmp_path)
    assert f"checks.yaml:{3 if 'step' in place else 2}:" in found
    assert f"contains {words}, which can't stand in a header" in found
    assert "(the value comes from ${file:key})" in found
    assert "0123456789" not in found


@pytest.mark.parametrize("content", ["", "\n", "  \n"])
@pytest.mark.parametrize("place", [place for place in PLACES if "key" in place or "bearer" in place])
def test_an_empty_key_is_told_at_load(place: str, content: str, tmp_path: Path) -> None:
    """S9: an empty file is no key."""
    (tmp_path / "key").write_text(content)
    assert "is empty; write a value, or remove the line (the value comes from ${file:key})" in said(PLACES[place] % "${file:key}", tmp_path)


@pytest.mark.parametrize("name", ["X Who", "X-Whö", "X:Who", "'X-Who\\n'"])
def test_a_header_has_a_name_that_can_be_sent(name: str, tmp_path: Path) -> None:
    """S9: the names, too."""
    quoted = name if name.startswith("'") else f"'{name}'"
    found = said(f"checks: {{c: {{kind: http, url: 'http://h/', headers: {{{quoted}: x}}}}}}".replace("'X-Who\\n'", '"X-Who\\n"'), tmp_path)
    assert "is no name of a header" in found
    assert "checks.yaml:2:" in found


@pytest.mark.parametrize("place", PLACES)
def test_a_good_key_is_taken(place: str, tmp_path: Path) -> None:
    """With the one line break that an editor adds at its end."""
    (tmp_path / "key").write_text("sk-0123456789 \t~\n")
    assert said(PLACES[place] % "${file:key}", tmp_path) == ""
