"""Records as lines of JSON in any order, in constant memory.

Stored rows are read in ascending order only, once. Another order goes through a temporary file: written in ascending
order, then read line by line in the order that is wanted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.records.blocks import BlockReader, Rows
from winnow.records.example import BLOCK_ROWS

_PIECE_BYTES = 1 << 16


def is_ascending(rows: Rows) -> bool:
    """Whether the rows stand in the order of the dataset."""
    return bool(np.all(rows[1:] >= rows[:-1]))


def read_lines(reader: BlockReader, rows: Rows) -> Iterator[tuple[Rows, pa.Array]]:
    """Yield (rows, binary array of their JSON lines) in the order of `rows`, at most a block at a time."""
    if is_ascending(rows):
        yield from reader.raw(rows)
        return
    order = np.argsort(rows, kind="stable")
    with tempfile.TemporaryFile() as spool:
        ends = _write_spool(reader, rows[order], spool)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        for first in range(0, len(rows), BLOCK_ROWS):
            wanted = slice(first, first + BLOCK_ROWS)
            yield rows[wanted], _read_spool(spool, ends, place[wanted])


def data_bytes(array: pa.Array) -> bytes:
    """All values of a binary array, one after the other."""
    offsets = np.frombuffer(array.buffers()[1], np.int32)
    first, last = int(offsets[array.offset]), int(offsets[array.offset + len(array)])
    found: bytes = array.buffers()[2][first:last].to_pybytes()
    return found


def coalesce(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Fewer, larger pieces: a sparse subset takes a few rows from each block."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _write_spool(reader: BlockReader, rows: Rows, spool: IO[bytes]) -> npt.NDArray[np.int64]:
    """Write the lines; line i ends at byte `ends[i + 1]`."""
    lengths = [np.zeros(1, np.int64)]
    for _, array in reader.raw(rows):
        spool.write(data_bytes(array))
        lengths.append(np.asarray(pa.compute.binary_length(array), np.int64))
    return np.cumsum(np.concatenate(lengths))


def _read_spool(
    spool: IO[bytes], ends: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
) -> pa.Array:
    lines = []
    for begin, end in zip(ends[places].tolist(), ends[places + 1].tolist(), strict=True):
        spool.seek(begin)
        lines.append(spool.read(end - begin))
    return pa.array(lines, pa.binary())
