"""Content encodings, undone piece by piece and never beyond a cap."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection

import brotli  # type: ignore[import-untyped]  # it comes without types
import zstandard

from probes.core import Failed, Reason

ENCODINGS = ("zstd", "br", "gzip", "deflate")  # the best first
_ALWAYS = frozenset({"gzip", "deflate"})  # common enough that servers send them unasked
_WINDOW = 8 * 1024 * 1024  # bytes of memory that a zstd frame may ask for (RFC 9659)
_MOST_LAYERS = 2  # encodings around one another; more of them is a bomb's way


class Decoder:
    """Undoes what a body is encoded in, never making more than the cap of it: a bomb ends as Failed(SIZE).

    gzip and deflate are always undone; br and zstd where they were asked for, since nobody else sends them.
    """

    def __init__(self, encoding: str, cap: int, asked: Collection[str] = ()) -> None:
        names = [name.strip().lower().removeprefix("x-") for name in encoding.split(",")]
        self._layers = [_layer(name, {*_ALWAYS, *asked}) for name in reversed(names) if name not in ("", "identity")]
        if len(self._layers) > _MOST_LAYERS:
            raise Failed(Reason.PROTOCOL, f"the response is encoded {len(self._layers)} times over ({encoding[:100]})")
        self._cap = cap
        self._made = 0

    def feed(self, piece: bytes) -> bytes:
        """The decoded bytes of a piece. Raises Failed(PROTOCOL) for what isn't encoded so, Failed(SIZE) above the cap."""
        for layer in self._layers:
            piece = layer.feed(piece, self._cap - self._made + 1)
            if len(piece) > self._cap - self._made:
                break
        self._made += len(piece)
        if self._made > self._cap:
            raise Failed(Reason.SIZE, f"the response exceeds {self._cap:,} bytes")
        return piece

    def end(self) -> None:
        """Raises Failed(TRUNCATED) where the body ended and what is encoded in it did not."""
        if any(layer.began and not layer.ended for layer in self._layers):
            raise Failed(Reason.TRUNCATED, f"the response is complete, but its decoded content ends early, after {self._made} bytes")


class _Layer(ABC):
    """One encoding. Its memory is bounded by what it may make at a time."""

    name = ""

    def __init__(self) -> None:
        self.began = False
        self.ended = False

    def feed(self, piece: bytes, most: int) -> bytes:
        """At most about so many bytes of what a piece decodes to; a caller that gets `most` gives up."""
        self.began = self.began or bool(piece)
        try:
            return self._undo(piece, most)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise Failed(Reason.PROTOCOL, f"the response body doesn't match its Content-Encoding ({self.name}): {error}") from error

    @abstractmethod
    def _undo(self, piece: bytes, most: int) -> bytes: ...


class _Gzip(_Layer):
    name = "gzip"

    def __init__(self) -> None:
        super().__init__()
        self._zip = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def _undo(self, piece: bytes, most: int) -> bytes:
        made = self._zip.decompress(piece, most)
        while self._zip.eof and self._zip.unused_data and len(made) < most:  # several members are one body (RFC 1952, 2.2)
            rest = self._zip.unused_data
            self._zip = zlib.decompressobj(zlib.MAX_WBITS | 16)
            made += self._zip.decompress(rest, most - len(made))
        self.ended = self._zip.eof
        return made


class _Deflate(_Layer):
    """As zlib wraps it, or bare as some servers send it."""

    name = "deflate"

    def __init__(self) -> None:
        super().__init__()
        self._zip = zlib.decompressobj()
        self._seen = b""  # the first two bytes, which tell which of the two it is

    def _undo(self, piece: bytes, most: int) -> bytes:
        if len(self._seen) < 2:  # noqa: PLR2004 - as said
            self._seen += piece
            if len(self._seen) < 2:  # noqa: PLR2004 - as said
                return b""
            piece = self._seen
            if piece[0] & 0x0F != zlib.DEFLATED or int.from_bytes(piece[:2]) % 31:  # RFC 1950, 2.2
                self._zip = zlib.decompressobj(-zlib.MAX_WBITS)
        made = self._zip.decompress(piece, most)
        self.ended = self._zip.eof
        return made


class _Brotli(_Layer):
    name = "br"

    def __init__(self) -> None:
        super().__init__()
        self._brotli = brotli.Decompressor()

    def _undo(self, piece: bytes, most: int) -> bytes:
        made = bytearray(self._brotli.process(piece, output_buffer_limit=most))
        while len(made) < most and not self._brotli.can_accept_more_data():
            made += self._brotli.process(b"", output_buffer_limit=most - len(made))
        self.ended = self._brotli.is_finished()
        return bytes(made)


class _Zstd(_Layer):
    """Fed in small slices, since the library has no bound of its own: a block of 128 KiB may hide in four bytes."""

    name = "zstd"
    slice = 32  # bytes: at most 1 MiB comes of one

    def __init__(self) -> None:
        super().__init__()
        self._library = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        self._frame = self._library.decompressobj()

    def _undo(self, piece: bytes, most: int) -> bytes:
        made = bytearray()
        for start in range(0, len(piece), self.slice):
            rest = piece[start : start + self.slice]
            while rest:
                if self._frame.eof:  # several frames are one body (RFC 8878, 3)
                    self._frame = self._library.decompressobj()
                made += self._frame.decompress(rest)
                rest = self._frame.unused_data if self._frame.eof else b""
            if len(made) >= most:
                break
        self.ended = self._frame.eof
        return bytes(made)


def _layer(name: str, known: Collection[str]) -> _Layer:
    layers: dict[str, type[_Layer]] = {kind.name: kind for kind in (_Gzip, _Deflate, _Brotli, _Zstd)}
    if name not in layers or name not in known:
        raise Failed(Reason.PROTOCOL, f"the response is encoded as {name!r}, which the request didn't ask for")
    return layers[name]()
