"""Gzip and zstd as plain bytes, a bounded piece at a time.

A few bytes may expand to gigabytes, so no call decompresses more than `PIECE_BYTES` (gzip) or what `ZSTD_SLICE_BYTES`
of input can hold (zstd). Damage and truncation are errors that name the offset in the compressed file.

Not covered: limits on the decompressed size as a whole. Readers downstream hold one record at a time, whatever it is.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import zstandard

from winnow.errors import DamagedContainer

Compression = Literal["none", "gzip", "zstd"]

PIECE_BYTES = 1 << 18
ZSTD_SLICE_BYTES = 1 << 11
"""A 4-byte block can stand for 128 KiB, so this many bytes expand to at most 64 MiB, at 100 MB/s and more."""
ZSTD_MAX_WINDOW = 1 << 27
"""What `zstd --long` needs by default; larger windows would be memory that the sender chooses."""

_GZIP_HEADER = (
    16 + zlib.MAX_WBITS
)  # the flag that makes zlib expect the gzip header and check its CRC
_MAGIC: tuple[tuple[bytes, Compression], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_ZSTD_SKIPPABLE = tuple(bytes([0x50 + low]) + b"\x2a\x4d\x18" for low in range(16))


class Readable(Protocol):
    """What is needed of a stream of bytes: files, sockets and raw readers all have it."""

    def read(self, size: int = -1, /) -> bytes | None:
        """At most `size` bytes, b"" at the end."""


def detect_compression(head: bytes) -> Compression:
    """Read the magic number at the beginning of a file."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return "zstd" if head.startswith(_ZSTD_SKIPPABLE) else "none"


def decompress(source: Readable, compression: Compression) -> Iterator[bytes]:
    """Yield the plain bytes of `source` in pieces that are never empty.

    Raises:
        DamagedContainer: a checksum is wrong, the data is not what its magic number says, or it ends too early.
    """
    if compression == "none":
        return _pieces(source, PIECE_BYTES)
    return _inflate(source) if compression == "gzip" else _unpack_zstd(source)


class PieceReader(io.RawIOBase):
    """A readable file over an iterator of pieces; wrap it in `io.BufferedReader` for `readline`."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.num_read = 0
        self._pieces = pieces
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """True: a piece reader only reads."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` from the current piece; 0 at the end."""
        if not self._piece:
            self._piece = memoryview(next(self._pieces, b""))
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        self.num_read += count
        return count


def open_plain(source: Readable, compression: Compression) -> io.BufferedReader:
    """A buffered file of the plain bytes of `source`."""
    return io.BufferedReader(PieceReader(decompress(source, compression)), PIECE_BYTES)


def _pieces(source: Readable, size: int) -> Iterator[bytes]:
    while data := source.read(size):
        yield data


def _inflate(source: Readable) -> Iterator[bytes]:
    member = zlib.decompressobj(_GZIP_HEADER)
    data, offset, started = b"", 0, False
    more_output = False
    while True:
        if not data and not more_output:
            data = source.read(PIECE_BYTES) or b""
            offset += len(data)
            if not data:
                break
        if not started:  # between members, where padding of zeros is allowed
            data = data.lstrip(b"\0")
            started = bool(data)
            if not started:
                continue
        try:
            piece = member.decompress(data, PIECE_BYTES)
        except zlib.error as error:
            raise _damaged("gzip", offset - len(data), str(error)) from error
        if piece:
            yield piece
        more_output = len(piece) == PIECE_BYTES and not member.eof
        data = member.unconsumed_tail
        if member.eof:
            data, started, member = member.unused_data, False, zlib.decompressobj(_GZIP_HEADER)
    if started:
        raise _damaged("gzip", offset, "it ends in the middle")


def _unpack_zstd(source: Readable) -> Iterator[bytes]:
    make: Callable[[], zstandard.ZstdDecompressionObj] = zstandard.ZstdDecompressor(
        max_window_size=ZSTD_MAX_WINDOW
    ).decompressobj
    frame, started, offset = make(), False, 0
    for data in _pieces(source, ZSTD_SLICE_BYTES):
        rest = data
        while rest:
            try:
                piece = frame.decompress(rest)
            except zstandard.ZstdError as error:
                raise _damaged("zstd", offset, str(error)) from error
            if piece:
                yield piece
            started, rest = not frame.eof, frame.unused_data if frame.eof else b""
            if frame.eof:
                frame = make()
        offset += len(data)
    if started:
        raise _damaged("zstd", offset, "it ends in the middle")


def _damaged(name: str, offset: int, why: str) -> DamagedContainer:
    return DamagedContainer(
        f"The {name} data is damaged near byte {offset} of the file: {why}. "
        "Compress it again, or send it plain."
    )
