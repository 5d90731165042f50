"""A file of instruction data, read once from beginning to end in bounded memory.

    bytes -> decompress -> container (lines, array, rows) -> Record(raw, Example | Rejection)

Not covered: retrying a stream that fails; the stream's own errors pass through.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, BinaryIO, assert_never

from winnow.errors import DamagedContainer
from winnow.records.compression import Compression, PieceReader, decompress, open_plain
from winnow.records.delimited import read_delimited
from winnow.records.formats import DELIMITERS, HEAD_BYTES, Format, sniff
from winnow.records.json_array import read_json_array
from winnow.records.json_lines import read_json_lines
from winnow.records.parquet_source import read_parquet
from winnow.records.record import Record

MAX_RECORD_BYTES = 16 << 20
_MAX_SPOOL_RATIO = 100
_MAX_SPOOL_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordReader:
    """The records of one stream; iterate once.

    Iterating raises `DamagedContainer` where the container breaks: the records before it were read.
    """

    format: Format
    source: BinaryIO | PieceReader
    max_record_bytes: int

    def __iter__(self) -> Iterator[Record]:
        container = self.format.container
        if container == "parquet":
            with _seekable(self.source, self.format.compression) as file:
                yield from read_parquet(file, max_record_bytes=self.max_record_bytes)
            return
        plain = open_plain(self.source, self.format.compression)
        limit = self.max_record_bytes
        match container:
            case "jsonl":
                yield from read_json_lines(plain, max_record_bytes=limit)
            case "json":
                yield from read_json_array(plain, max_record_bytes=limit)
            case "csv" | "tsv":
                delimiter = DELIMITERS[container]
                yield from read_delimited(plain, delimiter=delimiter, max_record_bytes=limit)
            case _:
                assert_never(container)


def read_records(
    stream: BinaryIO, *, given: str = "auto", max_record_bytes: int = MAX_RECORD_BYTES
) -> RecordReader:
    """Detect the format of `stream` (or check the `given` container) and read its records.

    Raises:
        UnknownFormat, DamagedContainer, InvalidOption: see `winnow.records.formats.sniff`.
    """
    head = _read_head(stream)
    found = sniff(head, given=given)
    source: BinaryIO | PieceReader = stream
    if found.container == "parquet" and found.compression == "none" and stream.seekable():
        stream.seek(0)
    else:
        source = PieceReader(itertools.chain([head], decompress(stream, "none")))
    return RecordReader(format=found, source=source, max_record_bytes=max_record_bytes)


def _read_head(stream: BinaryIO) -> bytes:
    head = bytearray()
    while len(head) < HEAD_BYTES and (data := stream.read(HEAD_BYTES - len(head))):
        head += data
    return bytes(head)


@contextlib.contextmanager
def _seekable(
    source: BinaryIO | PieceReader, compression: Compression
) -> Iterator[BinaryIO | IO[bytes]]:
    """The plain bytes as a file that can seek: a Parquet footer comes last and is read first."""
    if not isinstance(source, PieceReader):
        yield source
        return
    with tempfile.TemporaryFile() as spool:
        size = 0
        for piece in decompress(source, compression):
            size += spool.write(piece)
            _check_gain(source.num_read, size)
        yield spool


def _check_gain(num_read: int, size: int) -> None:
    """Compression around Parquet gains little, so a huge gain is a trap for the disk."""
    if size > max(_MAX_SPOOL_BYTES, _MAX_SPOOL_RATIO * num_read):
        raise DamagedContainer(
            f"{num_read:,} bytes expand to more than {size:,}, which is not plausible for Parquet. Send the file "
            "without compression around it."
        )
