"""The index by which tasks find their rows: every row under its texts and its id, few of those that are alike."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest

from winnow.labelling.record_index import (
    GROUP_ROWS,
    MAX_TWINS,
    find_rows,
    id_key,
    write_index,
)
from winnow.labelling.record_key import record_key
from winnow.records.blocks import BlockReader, BlockWriter
from winnow.records.readers import read_records

TWINS = {"instruction": "the same", "output": "again"}


def index(records: list[dict[str, Any]], folder: Path) -> tuple[io.BytesIO, list[int]]:
    """The index of a dataset of these records, and what was said of its progress."""
    place = (fsspec.filesystem("file"), str(folder))
    lines = "".join(json.dumps(each) + "\n" for each in records).encode()
    with BlockWriter(*place) as writer:
        for record in read_records(io.BytesIO(lines)):
            writer.write(record)
    file, progress = io.BytesIO(), []
    write_index(BlockReader(*place), file, on_rows=progress.append)
    return io.BytesIO(file.getvalue()), progress


def key(record: dict[str, Any]) -> bytes:
    found = record_key(record)
    assert found is not None
    return bytes.fromhex(found)


def test_every_row_is_found_by_its_texts_and_no_other_is(tmp_path: Path) -> None:
    records = [{"instruction": f"q {n}", "output": f"a {n}"} for n in range(GROUP_ROWS + 2_000)]
    file, progress = index(records, tmp_path)
    assert progress[-1] == len(records)
    wanted = [0, 1, GROUP_ROWS - 1, GROUP_ROWS, len(records) - 1]
    missing = key({"instruction": "q 0", "output": "a 1"})
    found = find_rows(file, [*(key(records[row]) for row in wanted), missing])
    assert found == {key(records[row]): [row] for row in wanted}
    assert find_rows(file, []) == {}
    every = find_rows(file, map(key, records))
    assert sorted(row for rows in every.values() for row in rows) == list(range(len(records)))


def test_rows_that_are_alike_are_found_in_order_up_to_a_number(tmp_path: Path) -> None:
    other = {"prompt": "another", "completion": "one"}
    file, _ = index([TWINS] * (MAX_TWINS + 9) + [other, TWINS], tmp_path)
    assert find_rows(file, [key(TWINS)]) == {key(TWINS): list(range(MAX_TWINS))}
    assert find_rows(file, [key(other)]) == {key(other): [MAX_TWINS + 9]}


@pytest.mark.parametrize("value", ["a", 7, 10**30, "\U0001f600"])
def test_an_id_finds_its_rows_and_is_no_text(tmp_path: Path, value: str | int) -> None:
    records = [TWINS | {"id": value}, TWINS, {"instruction": "x", "output": "", "id": value}]
    file, _ = index(records, tmp_path)
    assert find_rows(file, [id_key(str(value))]) == {id_key(str(value)): [0]}
    # A row that is no example has no key.
    assert find_rows(file, [key(TWINS)]) == {key(TWINS): [0, 1]}


def test_an_index_without_rows_has_none(tmp_path: Path) -> None:
    file, _ = index([{"instruction": "no answer"}], tmp_path)
    assert find_rows(file, [key(TWINS)]) == {}
    empty = io.BytesIO()
    pq.write_table(pq.read_table(file).schema.empty_table(), empty)
    assert find_rows(empty, [key(TWINS)]) == {}
