"""The text of a body: by the web's rules, in bounded time, whatever charset a server names."""

from __future__ import annotations

import encodings.aliases
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.core import Reason, Verdict
from probes.http import charset
from probes.http.message import Response
from probes.http.transport import HttpTransport
from probes.kinds.http import Http
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.asking import answer, ask, failure
from tests.support.context import make_context

DANGEROUS = [
    "punycode",
    "idna",
    "undefined",
    "unicode_escape",
    "raw_unicode_escape",
    "utf-7",
    "base64",
    "hex",
    "zip",
    "bz2",
    "rot13",
    "mbcs",
]
WORD = "road дорога"


def text(body: bytes, content_type: str = "", name: str = "") -> str:
    """What a response's text is."""
    return Response(200, (("content-type", content_type),) if content_type else (), body, 0.0, "", charset=name).text()


@pytest.mark.parametrize("name", DANGEROUS)
async def test_a_codec_that_is_no_charset_is_not_used(wire: Wire, name: str) -> None:
    """XB1, W1c, W2: what a server names chooses from the web's charsets alone; anything else means UTF-8."""
    body = "a-é\udcff".encode("utf-8", "surrogateescape") + b"a" * 200_000
    async with servers.canned(answer(body, f"Content-Type: text/html; charset={name}".encode())) as server:
        result = await ask(make_context(wire), server.url, expect={"text": "a-é"})
    assert result.verdict is Verdict.PASS


@pytest.mark.parametrize("name", DANGEROUS)
async def test_what_is_no_json_is_shown_in_no_such_codec(wire: Wire, name: str) -> None:
    """XB1, W1c: the beginning of a body in a message is text by the same rules."""
    async with servers.canned(answer(b"a-\xff<html>", f"Content-Type: application/json; charset={name}".encode())) as server:
        failed = await failure(make_context(wire), server.url, expect={"json": {"$.a": 1}})
    assert failed.reason is Reason.BODY
    assert "a-\ufffd<html>" in failed.message


async def test_httpx_above_the_transport_meets_no_such_codec(wire: Wire) -> None:
    """W2: a kind from outside that reads `response.text` is as safe."""
    reply = answer(b"a-" + b"a" * 300_000, b"Content-Type: text/html; charset=punycode")
    async with servers.canned(reply) as server, httpx.AsyncClient(transport=HttpTransport(make_context(wire))) as client:
        response = await client.get(server.url)
    assert response.text.startswith("a-aaa")


def test_every_codec_of_python_is_either_a_charset_or_unknown() -> None:
    """W1c: no name of a codec makes reading the text raise."""
    for name in {*encodings.aliases.aliases, *encodings.aliases.aliases.values()}:
        for body in (b"\xff\xfe\x00\x80abc", b"", b"a-\xff\x1b$B\x8e\xd8"):
            assert isinstance(text(body, f"text/plain; charset={name}"), str)


@given(body=st.binary(), content_type=st.text(), name=st.text())
def test_any_body_has_a_text(body: bytes, content_type: str, name: str) -> None:
    """W1c: whatever a body and its Content-Type are."""
    assert isinstance(text(body, content_type, name), str)


@pytest.mark.alone
@pytest.mark.parametrize("name", [*sorted(charset.LABELS)[::9], "utf-16", "utf-8", "windows-1252", "iso-8859-8"])
@pytest.mark.parametrize("piece", [b"\xff", b"\x81", b"\x8e\xff", b"\x1b", b"\x1b$B", b"\xd8\xd8", b"a"])
def test_faults_take_no_longer_than_text(name: str, piece: bytes) -> None:
    """XB1: the longest body that a check takes by default, of nothing but faults, is text within what a run may take of the loop."""
    body = piece * (1_048_576 // len(piece))
    took = []
    for _ in range(3):
        began = time.thread_time()
        text(body, f"text/html; charset={name}")
        took.append(time.thread_time() - began)
    assert min(took) < 0.05


@pytest.mark.parametrize(
    ("content_type", "codec"),
    [
        ("text/html; charset=gbk", "gbk"),
        ("text/html; charset = gbk", "gbk"),
        ('text/html;charset="GBK"', "gbk"),
        ("text/html; charset='gbk'", "gbk"),
        ("text/html; boundary=x; CHARSET=gb2312; y=z", "gbk"),
        ("text/html; charset=windows-1251", "cp1251"),
        ("text/html; charset=koi8", "koi8-r"),
        ("text/html; charset=utf8", "utf-8"),
        ("text/html; charset=", "utf-8"),
        ("text/html; xcharset=gbk", "utf-8"),
        ("text/html; charset=utf-16le", "utf-16-le"),
        ("text/html; charset=utf-16", "utf-16-le"),
    ],
)
def test_the_charset_of_content_type(content_type: str, codec: str) -> None:
    """W15: blanks, quotes and case don't matter, and the labels are the web's."""
    assert text(WORD.encode(codec), content_type) == WORD


@pytest.mark.parametrize(
    ("before", "content_type"),
    [
        ('<meta charset="windows-1251">', "text/html"),
        ("<META CHARSET=windows-1251 />", "text/html"),
        ("<!-- <meta charset=utf-8> --><meta charset='windows-1251'>", ""),
        ('<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">', "text/html"),
        ('<?xml version="1.0" encoding="windows-1251"?>', "application/xml"),
        ("<?xml version='1.0' encoding='windows-1251'?>", ""),
        ("", "text/plain; charset=windows-1251"),
    ],
)
def test_what_a_document_says_of_itself(before: str, content_type: str) -> None:
    """W15: HTML's meta and XML's declaration are read where Content-Type names no charset."""
    assert text((before + WORD).encode("cp1251"), content_type) == before + WORD


@pytest.mark.parametrize(
    ("body", "content_type", "name", "wanted"),
    [
        (b"\xef\xbb\xbfOK", "text/plain", "", "OK"),
        (b"\xef\xbb\xbfOK", "text/plain; charset=gbk", "gbk", "OK"),
        (b"\xff\xfeO\0K\0", "text/plain", "", "OK"),
        (b"\xfe\xff\0O\0K", "text/plain; charset=utf-8", "", "OK"),
        ("<?xml version='1.0'?>".encode("utf-16-le"), "text/xml", "", "<?xml version='1.0'?>"),
        (b"<meta charset=utf-16>\xc3\xa9", "text/html", "", "<meta charset=utf-16>é"),
        (b"<meta charset=latin1>\xc3\xa9", "text/plain", "", "<meta charset=latin1>é"),
        (b"<meta charset=latin1>\xc3\xa9", "application/json", "", "<meta charset=latin1>é"),
        (b"\xe9", "text/plain; charset=utf-8", "latin1", "é"),
        (b"\x93\x81", "text/plain; charset=iso-8859-1", "", "“\x81"),
        (b"\xe9", "text/plain", "", "\ufffd"),
    ],
)
def test_what_comes_first(body: bytes, content_type: str, name: str, wanted: str) -> None:
    """W15: the byte order mark, then the check's own word, then Content-Type, then the document, then UTF-8."""
    assert text(body, content_type, name) == wanted


async def test_a_check_names_the_charset(wire: Wire) -> None:
    """W15: `charset: gbk` reads the body so; a name that browsers don't know is refused with the one that was meant."""
    async with servers.canned(answer("道路".encode("gbk"), b"Content-Type: text/plain")) as server:
        result = await ask(make_context(wire), server.url, charset="gbk", expect={"regex": "^道路$"})
    assert result.verdict is Verdict.PASS
    with pytest.raises(ValueError, match="windows-152 is no charset of the web; did you mean windows-1252"):
        Http.model_validate({"url": "http://127.0.0.1:9/", "charset": "windows-152"})


@pytest.mark.parametrize(
    ("body", "content_type", "wanted"),
    [
        ('{"a": "é"}'.encode("latin-1"), "application/json; charset=iso-8859-1", {"a": "é"}),
        ('{"a": "é"}'.encode(), "application/json; charset=iso-8859-1", {"a": "é"}),
        (b"\xef\xbb\xbf{}", "application/json", {}),
        ('{"a": 1}'.encode("utf-16"), "application/json", {"a": 1}),
        (b"[" + b"9" * 5000 + b", 1]", "application/json", [float("inf"), 1]),
    ],
)
def test_json_in_other_charsets(body: bytes, content_type: str, wanted: object) -> None:
    """W15: JSON is UTF-8; what isn't is read by its charset. A number that Python doesn't read is infinite, as in JavaScript."""
    assert Response(200, (("content-type", content_type),), body, 0.0, "").json() == wanted


def test_json_that_is_no_text() -> None:
    """W15: the message names the byte, and no codec of Python's."""
    with pytest.raises(ValueError, match=r"^its byte 7 is not UTF-8$"):
        Response(200, (), '{"a":"é"}'.encode("latin-1"), 0.0, "").json()
