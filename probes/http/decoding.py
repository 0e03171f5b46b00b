"""Content encodings: bodies are decoded piece by piece, never to more bytes than a cap."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any

import brotli  # type: ignore[import-untyped]  # it comes without types
import zstandard

from probes.core import Failed, Reason
from probes.text import clipped

ENCODINGS = ("zstd", "br", "gzip", "deflate")  # the preferred one first
_ALWAYS = frozenset({"gzip", "deflate"})  # servers send these even where they were not requested
_WINDOW = 8 * 1024 * 1024  # bytes of memory that a zstd frame may need (RFC 9659)
_SLACK = 64 * 1024  # bytes of an encoding beside its content
_SLICE = 8 * 1024  # bytes, which decode to at most 8 MiB (gzip)
_MOST_LAYERS = 2  # encodings of one body; more of them are a sign of a decompression bomb


class WrongEncoding(Failed):
    """The body is not encoded as the response says, or its content ends early. The connection itself did no wrong."""


class Decoder:
    """Decodes a body of at most `cap` bytes: a decompression bomb ends as Failed(SIZE).

    As browsers do, it decodes what it knows and leaves a body as it is whose encoding it doesn't know (`utf-8`, `none`,
    `aws-chunked`). Where `allowed` is given, only these encodings, gzip and deflate pass; any other is Failed(PROTOCOL).
    """

    def __init__(self, encoding: str, cap: int, allowed: Collection[str] | None = None) -> None:
        listed = [name.strip().lower().removeprefix("x-") for name in encoding.split(",")]
        names = [name for name in listed if name not in ("", "identity")]
        for name in names:
            if allowed is not None and name not in _ALWAYS and name not in allowed:
                raise WrongEncoding(Reason.PROTOCOL, f"the response is encoded as {name!r}, which the request didn't ask for")
        self._layers = [_LAYERS[name]() for name in reversed(names) if name in _LAYERS]
        if len(self._layers) > _MOST_LAYERS:
            raise WrongEncoding(Reason.PROTOCOL, f"the response is encoded {len(self._layers)} times over ({clipped(encoding, 100)})")
        self._cap = cap
        self._received = 0
        self._decoded = 0

    def feed(self, piece: bytes) -> bytes:
        """The decoded bytes of a piece. Raises Failed(PROTOCOL) where it isn't encoded so, Failed(SIZE) above the cap.

        Above twice the cap as it is received, too: a stream may go on for ever that decodes to nothing.
        """
        self._received += len(piece)
        for layer in self._layers:
            piece = layer.feed(piece, self._cap - self._decoded + 1)
            if len(piece) > self._cap - self._decoded:
                break
        self._decoded += len(piece)
        if self._decoded > self._cap or self._received > 2 * self._cap + _SLACK:
            raise Failed(Reason.SIZE, f"the response exceeds {self._cap:,} bytes")
        return piece

    @property
    def slice(self) -> int:
        """How many bytes to feed before the loop gets its turn."""
        return _SLICE if self._layers else 1 << 30

    def end(self) -> None:
        """Raises Failed(TRUNCATED) where the body is complete, but the decoded content isn't."""
        if any(layer.began and not layer.ended for layer in self._layers):
            raise WrongEncoding(
                Reason.TRUNCATED, f"the response is complete, but its decoded content ends early, after {self._decoded} bytes"
            )


class _Layer(ABC):
    """One encoding. Decodes a bounded number of bytes at a time, so that its memory is bounded, too."""

    name = ""

    def __init__(self) -> None:
        self.began = False
        self.ended = False
        self.surplus = False  # what follows is no part of the content, and passed over as browsers do

    def feed(self, piece: bytes, most: int) -> bytes:
        """Decodes a piece to about `most` bytes at most; a caller that gets as many as that gives up."""
        if self.surplus:
            return b""
        self.began = self.began or bool(piece)
        try:
            return self._decode(piece, most)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise WrongEncoding(Reason.PROTOCOL, f"the response body doesn't match its Content-Encoding ({self.name}): {error}") from error

    @abstractmethod
    def _decode(self, piece: bytes, most: int) -> bytes: ...


_MEMBER = b"\x1f\x8b\x08"  # how a member of gzip begins


class _Gzip(_Layer):
    name = "gzip"

    def __init__(self) -> None:
        super().__init__()
        self._zip = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def _decode(self, piece: bytes, most: int) -> bytes:
        decoded = bytearray(self._zip.decompress(piece, most))
        while self._zip.eof and len(decoded) < most:  # several members are one body (RFC 1952, 2.2)
            rest = self._zip.unused_data
            if not rest.startswith(_MEMBER):
                self.surplus = not _MEMBER.startswith(rest)
                break
            self._zip = zlib.decompressobj(zlib.MAX_WBITS | 16)
            decoded += self._zip.decompress(rest, most - len(decoded))
        self.ended = self._zip.eof
        return bytes(decoded)


class _Deflate(_Layer):
    """Deflate in zlib's format, or raw as some servers send it."""

    name = "deflate"

    def __init__(self) -> None:
        super().__init__()
        self._zip = zlib.decompressobj()
        self._seen = b""  # the first two bytes, which show which of the two it is

    def _decode(self, piece: bytes, most: int) -> bytes:
        if len(self._seen) < 2:  # noqa: PLR2004 - two, as said
            self._seen += piece
            if len(self._seen) < 2:  # noqa: PLR2004 - two, as said
                return b""
            piece = self._seen
            if piece[0] & 0x0F != zlib.DEFLATED or int.from_bytes(piece[:2]) % 31:  # RFC 1950, 2.2
                self._zip = zlib.decompressobj(-zlib.MAX_WBITS)
        decoded = self._zip.decompress(piece, most)
        self.ended = self.surplus = self._zip.eof
        return decoded


class _Brotli(_Layer):
    name = "br"

    def __init__(self) -> None:
        super().__init__()
        self._brotli = brotli.Decompressor()
        self._fed = bytearray()  # what was decoded before
        self._decoded = 0

    def _decode(self, piece: bytes, most: int) -> bytes:
        try:
            decoded = _unbrotli(self._brotli, piece, most)
        except brotli.error:
            decoded = self._without_surplus(piece, most)
        self._fed += piece
        self._decoded += len(decoded)
        self.ended = self.surplus = self.ended or self._brotli.is_finished()
        return decoded

    def _without_surplus(self, piece: bytes, most: int) -> bytes:
        """What a piece decodes to in which the content ends. The library refuses the whole piece and doesn't say where that is.

        Decodes all again, this piece byte by byte. Raises brotli.error where the content is wrong before its end.
        """
        again = self._brotli = brotli.Decompressor()
        decoded = bytearray(_unbrotli(again, bytes(self._fed), self._decoded + most))
        for number in range(len(piece)):
            decoded += _unbrotli(again, piece[number : number + 1], self._decoded + most - len(decoded))
            if again.is_finished() or len(decoded) >= self._decoded + most:
                break
        return bytes(decoded[self._decoded :])


def _unbrotli(library: Any, piece: bytes, most: int) -> bytes:
    decoded = bytearray(library.process(piece, output_buffer_limit=most))
    while len(decoded) < most and not library.can_accept_more_data():
        decoded += library.process(b"", output_buffer_limit=most - len(decoded))
    return bytes(decoded)


_ZSTD_MAGIC = 4  # bytes with which a frame begins


class _Zstd(_Layer):
    """Decodes small slices, since the library has no limit of its own: four bytes may decode to a block of 128 KiB."""

    name = "zstd"
    slice = 32  # bytes, which decode to at most 1 MiB

    def __init__(self) -> None:
        super().__init__()
        self._library = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        self._frame = self._library.decompressobj()
        self._waiting = b""  # after a frame: too few bytes to know whether they begin another

    def _decode(self, piece: bytes, most: int) -> bytes:
        decoded = bytearray()
        for start in range(0, len(piece), self.slice):
            rest = piece[start : start + self.slice]
            while rest:
                if self._frame.eof:  # several frames are one body (RFC 8878, 3)
                    rest, self._waiting = self._waiting + rest, b""
                    if len(rest) < _ZSTD_MAGIC:
                        self._waiting = rest
                        break
                    if rest[:4] != zstandard.FRAME_HEADER and not (rest[0] & 0xF0 == 0x50 and rest[1:4] == b"\x2a\x4d\x18"):  # noqa: PLR2004 - a skippable frame (RFC 8878, 3.1.2)
                        self.ended = self.surplus = True
                        return bytes(decoded)
                    self._frame = self._library.decompressobj()
                decoded += self._frame.decompress(rest)
                rest = self._frame.unused_data if self._frame.eof else b""
            if len(decoded) >= most:
                break
        self.ended = self._frame.eof
        return bytes(decoded)


_LAYERS: dict[str, type[_Layer]] = {kind.name: kind for kind in (_Gzip, _Deflate, _Brotli, _Zstd)}
