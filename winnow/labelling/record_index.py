"""Which rows of a dataset hold a record: a task finds its row, and no record is read for it.

    key   16 bytes: what `record_key` makes of the record, or a hash of the record's own `id`
    row   of rows that share a key the first `MAX_TWINS`; equal records have equal scores

One Parquet file, sorted by key and row. The least and the greatest key of each row group say which groups a lookup
reads, so its memory is that of one group and of what is found.

Not covered: rows that could not be read as an example. They have no key, only their number.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.labelling.record_key import record_key
from winnow.records.blocks import BlockReader
from winnow.records.example import Example

KEY_BYTES = 16
MAX_TWINS = 64
GROUP_ROWS = 16_384
VERSION = 1
"""Part of the file's name: raised when the same record gets another key."""

_KEY = pa.binary(KEY_BYTES)
_SCHEMA = pa.schema([("key", _KEY), ("row", pa.int64())])

Keys = npt.NDArray[np.bytes_]
Rows = npt.NDArray[np.int64]


def index_path(dataset_id: str) -> str:
    """Where the index of a dataset lies in the blob store; it goes away with the dataset."""
    return f"datasets/{dataset_id}/record-index-{VERSION}.parquet"


def id_key(record_id: str) -> bytes:
    """The key of a record's own `id`; no text of a record shares it."""
    text = record_id.encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=KEY_BYTES, person=b"winnow id").digest()


def write_index(reader: BlockReader, file: IO[bytes], *, on_rows: Callable[[int], None]) -> None:
    """Write the index of a dataset; `on_rows` hears after each block how many rows were read.

    32 bytes a row are held, and as many again for a row that has an `id`.
    """
    keys, rows = _entries(reader, on_rows)
    order = np.lexsort((rows, keys))
    keys, rows = keys[order], rows[order]
    few = _place_among_twins(keys) < MAX_TWINS
    packed = pa.py_buffer(keys[few].tobytes())
    column = pa.FixedSizeBinaryArray.from_buffers(_KEY, np.count_nonzero(few), [None, packed])
    table = pa.Table.from_arrays([column, pa.array(rows[few])], schema=_SCHEMA)
    # Hashes have no order to compress and none to repeat.
    pq.write_table(table, file, row_group_size=GROUP_ROWS, use_dictionary=False, compression="none")


def find_rows(file: IO[bytes], keys: Iterable[bytes]) -> dict[bytes, list[int]]:
    """The rows of each key that the index has, ascending."""
    wanted = sorted(set(keys))
    found: dict[bytes, list[int]] = {}
    with pq.ParquetFile(file) as parquet:
        for group, some in _groups(parquet, wanted):
            table = parquet.read_row_group(group, use_threads=False)
            hits = table.filter(pc.is_in(table.column("key"), pa.array(some, _KEY)))
            for key, row in zip(*(column.to_pylist() for column in hits.columns), strict=True):
                found.setdefault(key, []).append(row)
    return found


def _entries(reader: BlockReader, on_rows: Callable[[int], None]) -> tuple[Keys, Rows]:
    keys, rows = bytearray(), array("q")
    for block in range(reader.num_blocks):
        outcomes = reader.outcomes(block)
        for outcome in outcomes:
            if isinstance(outcome, Example):
                for key in _keys(outcome):
                    keys += key
                    rows.append(outcome.row)
        on_rows(outcomes[-1].row + 1)
    return np.frombuffer(keys, f"S{KEY_BYTES}"), np.frombuffer(rows, np.int64)


def _keys(example: Example) -> Iterator[bytes]:
    content = record_key(example)
    if content is not None:
        yield bytes.fromhex(content)
    if example.id is not None:
        yield id_key(example.id)


def _place_among_twins(keys: Keys) -> npt.NDArray[np.int64]:
    """How many equal keys stand in front of each, in a sorted array."""
    places = np.arange(len(keys))
    begins = np.ones(len(keys), dtype=np.bool_)
    begins[1:] = keys[1:] != keys[:-1]
    return places - np.maximum.accumulate(np.where(begins, places, 0))


def _groups(parquet: pq.ParquetFile, wanted: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """The row groups that may hold a wanted key, each with those keys."""
    for group in range(parquet.num_row_groups):
        bounds = parquet.metadata.row_group(group).column(0).statistics
        if bounds is None or not bounds.has_min_max:  # no rows
            continue
        some = wanted[bisect_left(wanted, bounds.min) : bisect_right(wanted, bounds.max)]
        if some:
            yield group, some
