"""Content encodings: bodies are decoded piece by piece, never to more bytes than a cap."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection

import brotli  # type: ignore[import-untyped]  # it comes without types
import zstandard

from probes.core import Failed, Reason
from probes.text import clipped

ENCODINGS = ("zstd", "br", "gzip", "deflate")  # the preferred one first
_ALWAYS = frozenset({"gzip", "deflate"})  # servers send these even where they were not requested
_WINDOW = 8 * 1024 * 1024  # bytes of memory that a zstd frame may need (RFC 9659)
_MOST_LAYERS = 2  # encodings of one body; more of them are a sign of a decompression bomb


class Decoder:
    """Decodes a body of at most `cap` bytes: a decompression bomb ends as Failed(SIZE).

    gzip and deflate are always decoded; br and zstd only where they were `requested`, since no server sends them otherwise.
    """

    def __init__(self, encoding: str, cap: int, requested: Collection[str] = ()) -> None:
        names = [name.strip().lower().removeprefix("x-") for name in encoding.split(",")]
        self._layers = [_layer(name, {*_ALWAYS, *requested}) for name in reversed(names) if name not in ("", "identity")]
        if len(self._layers) > _MOST_LAYERS:
            raise Failed(Reason.PROTOCOL, f"the response is encoded {len(self._layers)} times over ({clipped(encoding, 100)})")
        self._cap = cap
        self._decoded = 0

    def feed(self, piece: bytes) -> bytes:
        """The decoded bytes of a piece. Raises Failed(PROTOCOL) where it isn't encoded so, Failed(SIZE) above the cap."""
        for layer in self._layers:
            piece = layer.feed(piece, self._cap - self._decoded + 1)
            if len(piece) > self._cap - self._decoded:
                break
        self._decoded += len(piece)
        if self._decoded > self._cap:
            raise Failed(Reason.SIZE, f"the response exceeds {self._cap:,} bytes")
        return piece

    def end(self) -> None:
        """Raises Failed(TRUNCATED) where the body is complete, but the decoded content isn't."""
        if any(layer.began and not layer.ended for layer in self._layers):
            raise Failed(Reason.TRUNCATED, f"the response is complete, but its decoded content ends early, after {self._decoded} bytes")


class _Layer(ABC):
    """One encoding. Decodes a bounded number of bytes at a time, so that its memory is bounded, too."""

    name = ""

    def __init__(self) -> None:
        self.began = False
        self.ended = False

    def feed(self, piece: bytes, most: int) -> bytes:
        """Decodes a piece to about `most` bytes at most; a caller that gets as many as that gives up."""
        self.began = self.began or bool(piece)
        try:
            return self._decode(piece, most)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise Failed(Reason.PROTOCOL, f"the response body doesn't match its Content-Encoding ({self.name}): {error}") from error

    @abstractmethod
    def _decode(self, piece: bytes, most: int) -> bytes: ...


class _Gzip(_Layer):
    name = "gzip"

    def __init__(self) -> None:
        super().__init__()
        self._zip = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def _decode(self, piece: bytes, most: int) -> bytes:
        decoded = self._zip.decompress(piece, most)
        while self._zip.eof and self._zip.unused_data and len(decoded) < most:  # several members are one body (RFC 1952, 2.2)
            rest = self._zip.unused_data
            self._zip = zlib.decompressobj(zlib.MAX_WBITS | 16)
            decoded += self._zip.decompress(rest, most - len(decoded))
        self.ended = self._zip.eof
        return decoded


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
        self.ended = self._zip.eof
        return decoded


class _Brotli(_Layer):
    name = "br"

    def __init__(self) -> None:
        super().__init__()
        self._brotli = brotli.Decompressor()

    def _decode(self, piece: bytes, most: int) -> bytes:
        decoded = bytearray(self._brotli.process(piece, output_buffer_limit=most))
        while len(decoded) < most and not self._brotli.can_accept_more_data():
            decoded += self._brotli.process(b"", output_buffer_limit=most - len(decoded))
        self.ended = self._brotli.is_finished()
        return bytes(decoded)


class _Zstd(_Layer):
    """Decodes small slices, since the library has no limit of its own: four bytes may decode to a block of 128 KiB."""

    name = "zstd"
    slice = 32  # bytes, which decode to at most 1 MiB

    def __init__(self) -> None:
        super().__init__()
        self._library = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        self._frame = self._library.decompressobj()

    def _decode(self, piece: bytes, most: int) -> bytes:
        decoded = bytearray()
        for start in range(0, len(piece), self.slice):
            rest = piece[start : start + self.slice]
            while rest:
                if self._frame.eof:  # several frames are one body (RFC 8878, 3)
                    self._frame = self._library.decompressobj()
                decoded += self._frame.decompress(rest)
                rest = self._frame.unused_data if self._frame.eof else b""
            if len(decoded) >= most:
                break
        self.ended = self._frame.eof
        return bytes(decoded)


def _layer(name: str, known: Collection[str]) -> _Layer:
    layers: dict[str, type[_Layer]] = {kind.name: kind for kind in (_Gzip, _Deflate, _Brotli, _Zstd)}
    if name not in layers or name not in known:
        raise Failed(Reason.PROTOCOL, f"the response is encoded as {name!r}, which the request didn't ask for")
    return layers[name]()
