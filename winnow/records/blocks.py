"""The stored form of a dataset: blocks of 1,024 rows, each one Parquet row group, 64 of them a part.

    {root}/part-00000.parquet ...     row, turns, source, id, reason, detail, and the record as it came:
                                      `raw` (bytes), or one column `=NAME` for every column of a Parquet input
    {root}/index.json                 written last: a folder without it is not finished

Row n is in block n // 1024, so a subset reads only the row groups that hold its rows. LZ4, and no dictionary on texts:
both are about scan speed, not size.

Not covered: changing a dataset. The same records give the same files, so writing them again is harmless.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import fsspec
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.errors import TooLarge
from winnow.records.arrow_json import batch_to_json
from winnow.records.example import BLOCK_ROWS, Example, Rejection
from winnow.records.outcome_columns import (
    OUTCOME_NAMES,
    OUTCOME_SCHEMA,
    outcomes_from_table,
    outcomes_to_arrays,
)
from winnow.records.record import Record

PART_BLOCKS = 64
MAX_BLOCK_BYTES = 512 << 20
"""Raw bytes that one block may hold: half a megabyte a record, far beyond instruction data, yet bounded."""

Rows = npt.NDArray[np.int64]
"""Row numbers, from 0."""

INDEX_NAME = "index.json"
_RAW = pa.field("raw", pa.binary(), nullable=False)
_PREFIX = "="
_DICTIONARIES = ["turns.list.element.role", "source", "reason"]


class BlockWriter:
    """Writes records, in row order, below `root`; a context manager.

    Parts appear under their names when they are complete, the index when the `with` block ends without an exception.
    """

    def __init__(self, fs: fsspec.AbstractFileSystem, root: str) -> None:
        self.rows_read = 0
        self.rows_usable = 0
        self.rows_rejected = 0
        self.num_blocks = 0
        self._fs = fs
        self._root = root
        self._pending: list[Record] = []
        self._pending_bytes = 0
        self._part: _Part | None = None

    def __enter__(self) -> Self:
        self._fs.makedirs(self._root, exist_ok=True)
        return self

    def write(self, record: Record) -> None:
        """Add the next record.

        Raises:
            TooLarge: 1,024 consecutive records together are more than `MAX_BLOCK_BYTES`.
        """
        batch = record.batch
        if batch is not None and (not self._pending or batch is not self._pending[-1].batch):
            self._pending_bytes += batch.nbytes
        self._pending.append(record)
        self._pending_bytes += len(record.raw)
        if self._pending_bytes > MAX_BLOCK_BYTES:
            raise TooLarge(
                f"The {len(self._pending):,} records up to row {record.row:,} hold more than {MAX_BLOCK_BYTES:,} "
                "bytes. Split the file, or lower WINNOW_MAX_RECORD_BYTES so that long records are rejected one by one."
            )
        if len(self._pending) == BLOCK_ROWS:
            self._flush_block()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            if self._part is not None:
                self._part.discard()

    def _finish(self) -> None:
        if self._pending:
            self._flush_block()
        self._close_part()
        index = {"num_rows": self.rows_read, "num_usable": self.rows_usable}
        temporary = _temporary(self._root, INDEX_NAME)
        self._fs.pipe_file(temporary, orjson.dumps(index))
        self._fs.mv(temporary, f"{self._root}/{INDEX_NAME}")

    def _flush_block(self) -> None:
        records = self._pending
        outcomes = [record.outcome for record in records]
        table = self._table(records, outcomes)
        if self._part is None:
            name = _part_name(self.num_blocks // PART_BLOCKS)
            self._part = _Part(self._fs, self._root, name, table.schema)
        self._part.writer.write_table(table, row_group_size=BLOCK_ROWS)
        self.num_blocks += 1
        self.rows_read += len(records)
        self.rows_usable += sum(isinstance(outcome, Example) for outcome in outcomes)
        self.rows_rejected = self.rows_read - self.rows_usable
        self._pending, self._pending_bytes = [], 0
        if self.num_blocks % PART_BLOCKS == 0:
            self._close_part()

    def _table(self, records: Sequence[Record], outcomes: list[Example | Rejection]) -> pa.Table:
        arrays: list[Any] = outcomes_to_arrays(outcomes)
        fields = list(OUTCOME_SCHEMA)
        if records[0].batch is None:
            raw = pa.array([record.raw for record in records], _RAW.type)
            return pa.table([*arrays, raw], schema=pa.schema([*fields, _RAW]))
        source = _gather(records)
        metadata = {b"record": source.schema.serialize().to_pybytes()}
        fields += [field.with_name(_PREFIX + field.name) for field in source.schema]
        return pa.table([*arrays, *source.columns], schema=pa.schema(fields, metadata))

    def _close_part(self) -> None:
        if self._part is not None:
            self._part.put_in_place()
            self._part = None


class BlockReader:
    """Reads a finished dataset below `root`. It keeps no file open, so threads may share it."""

    def __init__(self, fs: fsspec.AbstractFileSystem, root: str) -> None:
        index = orjson.loads(fs.cat_file(f"{root}/{INDEX_NAME}"))
        self.num_rows: int = index["num_rows"]
        self.num_usable: int = index["num_usable"]
        self.num_blocks = -(-self.num_rows // BLOCK_ROWS)
        self._fs = fs
        self._root = root
        self._source_schema: pa.Schema | None = None
        if self.num_rows:
            with self._open_part(0) as part:
                metadata = part.schema_arrow.metadata or {}
            if b"record" in metadata:
                self._source_schema = pa.ipc.read_schema(pa.py_buffer(metadata[b"record"]))

    @property
    def arrow_schema(self) -> pa.Schema | None:
        """The schema of the Parquet input; None for the other containers."""
        return self._source_schema

    def outcomes(self, block: int) -> list[Example | Rejection]:
        """What was read from each row of a block, in row order; the records themselves are not read."""
        part, group = divmod(block, PART_BLOCKS)
        with self._open_part(part) as file:
            return outcomes_from_table(
                file.read_row_group(group, columns=OUTCOME_NAMES, use_threads=False)
            )

    def sources(self) -> pa.ChunkedArray:
        """The source of every row, in row order; null where a row names none or was rejected."""
        chunks: list[pa.Array] = []
        for part in range(-(-self.num_blocks // PART_BLOCKS)):
            with self._open_part(part) as file:
                chunks += file.read(columns=["source"], use_threads=False).column("source").chunks
        return pa.chunked_array(chunks, pa.string())

    def scan(self, columns: Sequence[str], *, first_block: int = 0) -> Iterator[pa.Table]:
        """Yield these columns of `OUTCOME_SCHEMA`, or parts of them by their Parquet path, block after block."""
        for part in range(first_block // PART_BLOCKS, -(-self.num_blocks // PART_BLOCKS)):
            before = part * PART_BLOCKS
            with self._open_part(part) as file:
                for block in range(max(first_block, before), before + file.num_row_groups):
                    group = block - before
                    yield file.read_row_group(group, columns=list(columns), use_threads=False)

    def select(self, rows: Rows) -> Iterator[list[Example | Rejection]]:
        """Yield what was read from ascending `rows`, a row group at a time; the records themselves are not read."""
        for _, table in self._groups(rows, OUTCOME_NAMES):
            yield outcomes_from_table(table)

    def raw(self, rows: Rows) -> Iterator[tuple[Rows, pa.Array]]:
        """Yield (rows, their records as a binary array of JSON lines) for ascending `rows`, a row group at a time."""
        if self._source_schema is not None:
            for found, batch in self.arrow(rows):
                yield found, batch_to_json(batch)
            return
        for found, table in self._groups(rows, [_RAW.name]):
            yield found, table.column(_RAW.name).combine_chunks()

    def arrow(self, rows: Rows) -> Iterator[tuple[Rows, pa.RecordBatch]]:
        """Yield (rows, their records as they stood in the Parquet input) for ascending `rows`."""
        schema = self._source_schema
        assert schema is not None, "only a Parquet input has Arrow records"  # noqa: S101
        names = [_PREFIX + name for name in schema.names]
        for found, table in self._groups(rows, names):
            columns = [table.column(name).combine_chunks() for name in names]
            yield found, pa.RecordBatch.from_arrays(columns, schema=schema)

    def _groups(self, rows: Rows, columns: list[str]) -> Iterator[tuple[Rows, pa.Table]]:
        """Yield the selected rows of every row group that has some."""
        part_rows = PART_BLOCKS * BLOCK_ROWS
        for part in np.unique(rows // part_rows).tolist():
            in_part = _between(rows, part * part_rows, part_rows)
            with self._open_part(part) as file:
                for block in np.unique(in_part // BLOCK_ROWS).tolist():
                    found = _between(in_part, block * BLOCK_ROWS, BLOCK_ROWS)
                    group = block % PART_BLOCKS
                    table = file.read_row_group(group, columns=columns, use_threads=False)
                    if len(found) < table.num_rows:
                        table = take_rows(table, found - block * BLOCK_ROWS)
                    yield found, table

    def _open_part(self, part: int) -> pq.ParquetFile:
        file = self._fs.open(f"{self._root}/{_part_name(part)}", "rb")
        return _ClosingParquetFile(file)


def take_rows(table: pa.Table, places: Rows) -> pa.Table:
    """The rows at `places`, in that order, of any type."""
    try:
        return table.take(pa.array(places))
    except (
        pa.ArrowNotImplementedError
    ):  # Arrow takes from no view types yet, but slices and joins them
        return pa.concat_tables([table.slice(place, 1) for place in places.tolist()])


class _ClosingParquetFile(pq.ParquetFile):  # type: ignore[misc]
    """Arrow leaves a file that it did not open itself open."""

    def close(self, force: bool = True) -> None:
        super().close(force)

    def __exit__(self, *_: object) -> None:
        self.close()


class _Part:
    """A part being written under a temporary name."""

    def __init__(
        self, fs: fsspec.AbstractFileSystem, root: str, name: str, schema: pa.Schema
    ) -> None:
        self._fs = fs
        self._final = f"{root}/{name}"
        self._temporary = _temporary(root, name)
        self._file = fs.open(self._temporary, "wb")
        self.writer = pq.ParquetWriter(
            self._file,
            schema,
            compression="lz4",
            use_dictionary=_DICTIONARIES,
            write_statistics=False,
        )

    def put_in_place(self) -> None:
        self.writer.close()
        self._file.close()
        self._fs.mv(self._temporary, self._final)

    def discard(self) -> None:
        # Something failed already, perhaps this very writer: that error is the one to show.
        with contextlib.suppress(OSError, ValueError, pa.ArrowException):
            self.writer.close()
        with contextlib.suppress(OSError):
            self._file.close()
            self._fs.rm_file(self._temporary)


def _gather(records: Sequence[Record]) -> pa.Table:
    """The Arrow rows of consecutive records, slice by slice."""
    slices: list[pa.RecordBatch] = []
    first = 0
    for i in range(1, len(records) + 1):
        if i == len(records) or records[i].batch is not records[first].batch:
            batch = records[first].batch
            assert batch is not None  # noqa: S101  # a file is Parquet or it is not
            slices.append(batch.slice(records[first].index, i - first))
            first = i
    return pa.Table.from_batches(slices).unify_dictionaries()


def _between(rows: Rows, first: int, count: int) -> Rows:
    low, high = np.searchsorted(rows, [first, first + count])
    return rows[low:high]


def _part_name(part: int) -> str:
    return f"part-{part:05d}.parquet"


def _temporary(root: str, name: str) -> str:
    return f"{root}/{name}.{secrets.token_hex(4)}.tmp"
