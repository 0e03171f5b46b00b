"""The text of a body: which charset it is in, by the rules of the web (https://encoding.spec.whatwg.org), and its characters.

A server names the charset. So a name chooses from the web's own list alone: some of Python's codecs take hours or aren't for text.
"""

from __future__ import annotations

import codecs
import re
from functools import cache

# Each encoding of the web by its labels, and the codec that reads it. A label that isn't here means UTF-8.
_LABELS = {
    "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8",
    "cp866": "866 cp866 csibm866 ibm866",
    "iso8859_2": "csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2",
    "iso8859_3": "csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3",
    "iso8859_4": "csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4",
    "iso8859_5": "csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988",
    "iso8859_6": "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e iso-8859-6-i iso-ir-127"
    " iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987",
    "iso8859_7": "csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597 iso_8859-7 iso_8859-7:1987"
    " sun_eu_greek",
    "iso8859_8": "csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598 iso_8859-8 iso_8859-8:1988"
    " visual csiso88598i iso-8859-8-i logical",
    "iso8859_10": "csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6",
    "iso8859_13": "iso-8859-13 iso8859-13 iso885913",
    "iso8859_14": "iso-8859-14 iso8859-14 iso885914",
    "iso8859_15": "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9",
    "iso8859_16": "iso-8859-16",
    "koi8_r": "cskoi8r koi koi8 koi8-r koi8_r",
    "koi8_u": "koi8-ru koi8-u",
    "mac_roman": "csmacintosh mac macintosh x-mac-roman",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
    "cp1250": "cp1250 windows-1250 x-cp1250",
    "cp1251": "cp1251 windows-1251 x-cp1251",
    "cp1252": "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987"
    " l1 latin1 us-ascii windows-1252 x-cp1252 x-user-defined",
    "cp1253": "cp1253 windows-1253 x-cp1253",
    "cp1254": "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5 windows-1254 x-cp1254",
    "cp1255": "cp1255 windows-1255 x-cp1255",
    "cp1256": "cp1256 windows-1256 x-cp1256",
    "cp1257": "cp1257 windows-1257 x-cp1257",
    "cp1258": "cp1258 windows-1258 x-cp1258",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "gb18030": "chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk gb18030",
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "euc_jp": "cseucpkdfmtjapanese euc-jp x-euc-jp",
    "iso2022_jp": "csiso2022jp iso-2022-jp",
    "cp932": "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis",
    "cp949": "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 windows-949",
    "utf-16-be": "unicodefffe utf-16be",
    "utf-16-le": "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le",
}
_CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}
LABELS = frozenset(_CODECS)
_ONE_BYTE = re.compile(r"cp(866|874|125\d)|iso8859|koi8|mac_")
_BYTE_ORDERS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xfe\xff", "utf-16-be"), (b"\xff\xfe", "utf-16-le"))  # how a text begins that says it
_PARAMETER = re.compile(r"(?:^|[;,\s])charset\s*=\s*[\"']?\s*([^\s\"';,]+)", re.IGNORECASE)
_BEGINNING = 1024  # bytes in which a document may name its charset
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_META = re.compile(rb"<meta[\s/][^>]*?charset\s*=\s*[\"']?\s*([^\s\"'/>;]+)", re.IGNORECASE)
_XML = re.compile(rb"\A<\?xml\s[^>]*?encoding\s*=\s*[\"']([^\"']+)[\"']")
_MOST_ERRORS = 10_000  # halves of surrogate pairs that are replaced one by one


def is_charset(label: str) -> bool:
    """Whether the web knows a charset by this label."""
    return label.strip().lower() in _CODECS


def declared(content_type: str) -> str:
    """The label of the charset in a Content-Type header, "" where there is none."""
    found = _PARAMETER.search(content_type)
    return found[1].lower() if found else ""


def decode(body: bytes, content_type: str, charset: str = "") -> str:
    """The text of a body, in this order by its byte order mark, `charset` (a label), Content-Type, and what HTML or XML says of itself.

    Otherwise it is UTF-8. Bytes that can't be decoded are replaced. A byte order mark is no part of the text. The time grows with
    the length alone.
    """
    for start, codec in _BYTE_ORDERS:
        if body.startswith(start):
            return _decode(body[len(start) :], codec)
    label = charset or declared(content_type) or _named_inside(body[:_BEGINNING], content_type.lower())
    return _decode(body, _CODECS.get(label.strip().lower(), "utf-8"))


def _named_inside(beginning: bytes, content_type: str) -> str:
    """The label that an HTML or XML document gives itself: what can be read as ASCII isn't UTF-16, whatever it says."""
    label = b""
    if "xml" in content_type or not content_type:
        for start, encoding in ((b"<\0?\0", "utf-16le"), (b"\0<\0?", "utf-16be")):
            if beginning.startswith(start):
                return encoding
        label = found[1] if (found := _XML.search(beginning)) else b""
    if not label and ("html" in content_type or not content_type):
        label = found[1] if (found := _META.search(_COMMENT.sub(b"", beginning))) else b""
    text = label.decode("ascii", "replace")
    return "" if _CODECS.get(text.lower(), "").startswith("utf-16") else text


def _decode(body: bytes, codec: str) -> str:
    if _ONE_BYTE.match(codec):
        return codecs.charmap_decode(body, "strict", _characters(codec))[0]
    if not codec.startswith("utf-16"):
        return body.decode(codec, "replace")
    try:
        return body.decode(codec)
    except UnicodeDecodeError:  # each fault takes a microsecond, and there may be as many as characters
        upper = body[codec.endswith("le") :: 2]
        many = len(upper.translate(None, _NO_SURROGATES)) > _MOST_ERRORS
        return body.decode("utf-8" if many else codec, "replace")


_NO_SURROGATES = bytes(byte for byte in range(256) if not 0xD8 <= byte <= 0xDF)  # noqa: PLR2004 - the first bytes of surrogates


@cache
def _characters(codec: str) -> str:
    """The 256 characters of a codec, so that decoding meets no error: handling one takes longer than decoding a hundred characters."""
    found = [bytes([byte]).decode(codec, "replace") for byte in range(256)]
    return "".join(chr(byte) if text == "\ufffd" and byte < 0xA0 else text for byte, text in enumerate(found))  # noqa: PLR2004 - the controls
