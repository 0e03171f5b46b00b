"""Content encodings, undone piece by piece and never beyond a cap."""

from __future__ import annotations

import zlib

from probes._core import Failed, Reason


class Decoder:
    """Undoes gzip and deflate piece by piece, never making more than the cap of it: a bomb ends as Failed(SIZE)."""

    def __init__(self, encoding: str, cap: int) -> None:
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise Failed(Reason.PROTOCOL, f"the answer is encoded as {name!r}, which wasn't asked for")
        self._zip = zlib.decompressobj(zlib.MAX_WBITS | 32) if name not in ("", "identity") else None
        self._cap = cap
        self._made = 0

    def feed(self, piece: bytes) -> bytes:
        """The decoded bytes of a piece. Raises Failed(PROTOCOL) for what isn't encoded so, Failed(SIZE) above the cap."""
        plain = piece if self._zip is None else self._unzip(piece)
        self._made += len(plain)
        if self._made > self._cap:
            raise Failed(Reason.SIZE, f"the answer exceeds {self._cap:,} bytes")
        return plain

    def _unzip(self, piece: bytes) -> bytes:
        assert self._zip is not None  # noqa: S101 - for the type checker
        try:
            return self._zip.decompress(piece, self._cap - self._made + 1)
        except zlib.error as error:
            raise Failed(Reason.PROTOCOL, f"the answer's body is not what its Content-Encoding says: {error}") from error
