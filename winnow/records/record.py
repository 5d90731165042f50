"""What a reader yields for every row: the record as it goes out again, and what could be read from it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from winnow.records.example import Example, Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row of the input.

    `raw` is the record as one line of JSON: the line's own bytes (JSONL), the element without its line breaks (JSON
    array), an object of strings (CSV, TSV). Of a row that does not parse it is the bytes as they came, of an over-long
    one their beginning. Parquet rows have no `raw`; theirs is row `index` of `batch`: Arrow types come out again.
    """

    row: int
    outcome: Example | Rejection
    raw: bytes = b""
    batch: pa.RecordBatch | None = None
    index: int = 0
