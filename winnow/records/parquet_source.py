"""Parquet in: rows batch by batch, with their Arrow types kept.

A footer is small and says how large the rest is, so damage and absurd sizes are found before a row is read. Only the
columns that a schema knows become Python values; the others stay in Arrow.

Not covered: encrypted files, and columns with one name (neither JSON nor a struct could hold them).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.errors import DamagedContainer, UnknownFormat
from winnow.records.arrow_json import python_values
from winnow.records.example import BLOCK_ROWS
from winnow.records.formats import PARQUET_MAGIC
from winnow.records.outcomes import reject_malformed, reject_too_long
from winnow.records.record import Record
from winnow.records.schemas import KNOWN_FIELDS, has_known_columns, to_example

MAX_RATIO = 1000
MAX_PLAIN_BYTES = 4 << 30
"""A file that declares more than this and more than `MAX_RATIO` times its size is not read."""

_BUFFER_BYTES = 1 << 20
_BATCH_ROWS = BLOCK_ROWS // 8
"""Rows in memory at a time: few, since a dictionary lets a small file hold a long text many times."""
_FOOTER_TAIL = 8  # the length of the footer, then the mark


def read_parquet(file: BinaryIO | IO[bytes], *, max_record_bytes: int) -> Iterator[Record]:
    """Yield one record for each row of a seekable file.

    Raises:
        DamagedContainer: the footer or a page cannot be read, or the declared sizes are absurd.
        UnknownFormat: no known columns, or two of one name.
    """
    size = _check_footer(file)
    with _damage(size):
        # Without a buffer a whole column chunk is read at once; pre-buffering would do the same.
        source = pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    _check_declared(source.metadata, size)
    _check_columns(source.schema_arrow.names)
    row = 0
    batches = _batches(source)
    while True:
        with _damage(size):
            batch = next(batches, None)
        if batch is None:
            return
        yield from _records(batch, row, max_record_bytes)
        row += batch.num_rows


def _batches(source: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """Batches that end with their row group: Arrow cannot build some nested columns across two."""
    for group in range(source.metadata.num_row_groups):
        yield from source.iter_batches(_BATCH_ROWS, row_groups=[group], use_threads=False)


def _check_footer(file: BinaryIO | IO[bytes]) -> int:
    size = file.seek(0, 2)
    file.seek(max(0, size - _FOOTER_TAIL))
    tail = file.read(_FOOTER_TAIL)
    if not tail.endswith(PARQUET_MAGIC) or size < _FOOTER_TAIL + len(PARQUET_MAGIC):
        raise DamagedContainer(
            f"The Parquet file does not end with its mark PAR1 (at byte {max(0, size - 4)}): it is cut off or was not "
            "closed. Write it again."
        )
    length = int.from_bytes(tail[:4], "little")
    if length + _FOOTER_TAIL + len(PARQUET_MAGIC) > size:
        raise DamagedContainer(
            f"The Parquet footer at byte {size - _FOOTER_TAIL} claims {length:,} bytes in a file of {size:,}. Write "
            "the file again."
        )
    file.seek(0)
    return size


def _check_declared(metadata: Any, size: int) -> None:
    declared = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if declared > max(MAX_PLAIN_BYTES, MAX_RATIO * size) or metadata.num_rows < 0:
        raise DamagedContainer(
            f"The Parquet footer declares {metadata.num_rows:,} rows and {declared:,} bytes in a file of {size:,} "
            "bytes, which is not plausible. Write the file again."
        )


def _check_columns(names: list[str]) -> None:
    repeated = [repr(name) for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UnknownFormat(
            f"The Parquet file has more than one column named {', '.join(repeated[:8])}. Rename them."
        )
    if not has_known_columns(names):
        shown = ", ".join(repr(name[:40]) for name in names[:8])
        raise UnknownFormat(
            f"The Parquet file has no known columns ({shown}). Name them instruction and output, prompt and "
            "completion, messages, or conversations."
        )


def _records(batch: pa.RecordBatch, first_row: int, max_bytes: int) -> Iterator[Record]:
    if batch.nbytes <= max_bytes and _is_valid(batch):
        yield from _valid_records(batch, batch, first_row, 0)
        return
    for index in range(batch.num_rows):
        one = batch.slice(index, 1)
        row = first_row + index
        where = f"record {row + 1}"
        if _row_bytes(one) > max_bytes:
            outcome = reject_too_long(max_bytes, row=row, where=where)
        elif not _is_valid(one):
            why = "a text column is not valid UTF-8; write it as UTF-8"
            outcome = reject_malformed(why, row=row, where=where)
        else:
            yield from _valid_records(batch, one, first_row, index)
            continue
        yield Record(row=row, outcome=outcome, batch=batch, index=index)


def _row_bytes(one: pa.RecordBatch) -> int:
    """The size of one row, without the dictionaries that it shares with others."""
    total = sum(column.nbytes for column in one.columns if not pa.types.is_dictionary(column.type))
    return int(total)


def _valid_records(
    batch: pa.RecordBatch, part: pa.RecordBatch, first_row: int, first_index: int
) -> Iterator[Record]:
    """The records of `part`, which begins at `first_index` of `batch`."""
    names = [name for name in part.schema.names if name in KNOWN_FIELDS]
    rows = zip(*(python_values(part.column(name)) for name in names), strict=True)
    for index, values in enumerate(rows, first_index):
        row = first_row + index
        fields = dict(zip(names, values, strict=True))
        outcome = to_example(fields, row=row, where=f"record {row + 1}")
        yield Record(row=row, outcome=outcome, batch=batch, index=index)


def _is_valid(batch: pa.RecordBatch) -> bool:
    try:
        batch.validate(full=True)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return False
    return True


@contextlib.contextmanager
def _damage(size: int) -> Iterator[None]:
    """Arrow's errors as ours."""
    try:
        yield
    except (pa.ArrowException, OSError, OverflowError) as error:
        raise DamagedContainer(
            f"The Parquet file of {size:,} bytes cannot be read: {str(error).strip()[:300]}. Write it again."
        ) from error
