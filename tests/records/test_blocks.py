"""Blocks are row groups of exactly 1,024 rows, appear when complete, and are read only where rows were asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.records.samples import as_jsonl, as_parquet, read, store
from winnow.errors import TooLarge
from winnow.records import blocks
from winnow.records.blocks import PART_BLOCKS, BlockReader, BlockWriter
from winnow.records.example import BLOCK_ROWS, Example, Rejection, RejectionReason, Turn
from winnow.records.record import Record

FS = fsspec.filesystem("file")


def numbered(count: int) -> list[Record]:
    """Records whose every third is rejected, with raw bytes that name their row."""
    return [
        Record(
            row=row,
            raw=f'{{"prompt": "{row}", "response": "é"}}'.encode(),
            outcome=Rejection(row=row, reason=RejectionReason.EMPTY_ANSWER, detail=f"line {row}")
            if row % 3 == 0
            else Example(
                row=row,
                turns=tuple(Turn(role="assistant", content=str(i)) for i in range(row % 4 + 1)),
                source="s" if row % 2 else None,
                id=str(row) if row % 5 else None,
            ),
        )
        for row in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 2048, 5000])
def test_outcomes_come_back_block_by_block(tmp_path: Path, count: int) -> None:
    records = numbered(count)
    reader = store(tmp_path, records)
    assert (reader.num_rows, reader.num_blocks) == (count, -(-count // BLOCK_ROWS))
    found = [reader.outcomes(block) for block in range(reader.num_blocks)]
    assert [len(block) for block in found[:-1]] == [BLOCK_ROWS] * (len(found) - 1)
    assert [outcome for block in found for outcome in block] == [
        record.outcome for record in records
    ]


def test_every_row_group_but_the_last_has_a_block_of_rows(tmp_path: Path) -> None:
    store(tmp_path, numbered(2 * BLOCK_ROWS + 7))
    metadata = pq.read_metadata(tmp_path / "part-00000.parquet")
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes == [BLOCK_ROWS, BLOCK_ROWS, 7]


def test_the_writer_counts_what_it_wrote(tmp_path: Path) -> None:
    with BlockWriter(FS, str(tmp_path)) as writer:
        for record in numbered(3000):
            writer.write(record)
    assert (writer.rows_read, writer.rows_usable, writer.rows_rejected) == (3000, 2000, 1000)
    assert writer.num_blocks == 3
    assert BlockReader(FS, str(tmp_path)).num_usable == 2000


@pytest.mark.parametrize(
    "rows", [[], [0], [1023, 1024], [5, 2047, 2048, 2999], list(range(3000)), [7, 7]]
)
def test_raw_records_of_ascending_rows_come_with_their_numbers(
    tmp_path: Path, rows: list[int]
) -> None:
    records = numbered(3000)
    batches = list(store(tmp_path, records).raw(np.array(rows, np.int64)))
    assert [row for found, _ in batches for row in found.tolist()] == rows
    assert [raw for _, array in batches for raw in array.to_pylist()] == [
        records[row].raw for row in rows
    ]
    assert len(batches) == len({row // BLOCK_ROWS for row in rows})


def test_a_new_part_begins_after_64_blocks(tmp_path: Path) -> None:
    count = PART_BLOCKS * BLOCK_ROWS + 1
    one = numbered(2)[1]
    reader = store(tmp_path, (one for _ in range(count)))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["index.json", "part-00000.parquet", "part-00001.parquet"]
    assert reader.num_blocks == PART_BLOCKS + 1
    assert len(reader.outcomes(PART_BLOCKS)) == 1
    (_, first), (_, last) = reader.raw(np.array([0, count - 1]))
    assert first.to_pylist() == last.to_pylist() == [one.raw]


def test_row_groups_without_a_selected_row_are_not_read(tmp_path: Path) -> None:
    reader = store(tmp_path, numbered(3 * BLOCK_ROWS))
    path = tmp_path / "part-00000.parquet"
    data = bytearray(path.read_bytes())
    for group in (0, 2):
        column = pq.read_metadata(path).row_group(group).column(7)
        assert column.path_in_schema == "raw"
        start = column.data_page_offset
        data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(data)
    ((_, array),) = reader.raw(np.array([BLOCK_ROWS]))
    assert b'"1024"' in array[0].as_py()
    with pytest.raises((OSError, pa.ArrowException)):
        list(reader.raw(np.array([0])))


def test_an_exception_leaves_no_index_and_no_temporary_file(tmp_path: Path) -> None:
    def damaged() -> Iterator[Record]:
        yield from numbered(1500)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store(tmp_path, damaged())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        BlockReader(FS, str(tmp_path))


def test_writing_the_same_records_again_gives_the_same_files(tmp_path: Path) -> None:
    def contents() -> dict[str, bytes]:
        store(tmp_path, numbered(2000))
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert contents() == contents()


def test_a_block_has_a_limit_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_BLOCK_BYTES", 10_000)
    records = read(as_jsonl([{"prompt": "p", "response": "x" * 6000}] * 2))
    with pytest.raises(TooLarge, match="2 records up to row 1 hold more than 10,000 bytes"):
        store(tmp_path, records)
    with pytest.raises(TooLarge, match="hold more than 10,000 bytes"):
        store(tmp_path, read(as_parquet([{"prompt": "p", "response": "x" * 6000}] * 2)))


def test_parquet_rows_keep_their_arrow_columns(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "response": "r", "n": i} for i in range(2500)]
    reader = store(tmp_path, read(as_parquet(rows)))
    assert reader.arrow_schema is not None
    assert reader.arrow_schema.names == ["prompt", "response", "n"]
    found = [
        row for _, batch in reader.arrow(np.array([1, 1030, 2499])) for row in batch.to_pylist()
    ]
    assert found == [rows[1], rows[1030], rows[2499]]
    ((_, lines),) = reader.raw(np.array([1030]))
    assert lines.to_pylist() == [b'{"prompt":"p1030","response":"r","n":1030}']


def test_other_containers_have_no_arrow_schema(tmp_path: Path) -> None:
    assert store(tmp_path, numbered(1)).arrow_schema is None
