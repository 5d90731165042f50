"""A subset as bytes, in the formats that trainers read.

    jsonl     one record a line; for JSONL input the line's own bytes
    json      an array of the same records, one a line
    csv       one column for every key, in first-seen order; see `render_csv`
    parquet   the Arrow types of a Parquet input, inferred types otherwise; see `render_parquet`

With scores, every record gets a last member `winnow` with what is known of its row (CSV: a column `winnow_NAME` for
each). A member of that name that the record came with gives way.

Not covered: choosing rows (`winnow.selection`), and formats of labelling platforms (`winnow.labelling`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, assert_never, get_args

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from winnow.errors import InvalidOption
from winnow.records.blocks import BlockReader, Rows
from winnow.records.example import Example
from winnow.records.json_text import dump_as_written, parse_as_written
from winnow.records.lines import coalesce, data_bytes, read_lines
from winnow.records.render_csv import CsvEscape, render_csv
from winnow.records.render_parquet import render_parquet
from winnow.records.score_member import MEMBER, Scores

SubsetFormat = Literal["jsonl", "json", "csv", "parquet"]
SUBSET_FORMATS: tuple[str, ...] = get_args(SubsetFormat)

_QUOTED_MEMBER = orjson.dumps(MEMBER)


def render(
    reader: BlockReader,
    rows: Rows,
    *,
    format: str = "jsonl",  # noqa: A002  # the name that users know
    scores: Scores | None = None,
    escape: CsvEscape | None = None,
) -> Iterator[bytes]:
    """Yield the records of `rows`, in the order given, as one file of `format`.

    Args:
        reader: the dataset.
        rows: numbers of usable rows. Ascending rows stream; another order spools to a temporary file once.
        format: one of `SUBSET_FORMATS`. CSV and Parquet read the rows twice: columns first, then values.
        scores: for a batch of row numbers, a mapping of JSON values for each; None adds nothing.
        escape: of CSV cells that look like formulas, see `render_csv`; None leaves every cell as it is.

    Raises:
        InvalidOption: no such format. It is raised at once, not when the first bytes are asked for.
    """
    if format not in SUBSET_FORMATS:
        raise InvalidOption(
            f"format must be one of {', '.join(SUBSET_FORMATS)}; got {format!r}.", param="format"
        )
    chosen: SubsetFormat = next(name for name in get_args(SubsetFormat) if name == format)
    return coalesce(_pieces(reader, np.asarray(rows, np.int64), chosen, scores, escape))


def _pieces(
    reader: BlockReader,
    rows: Rows,
    chosen: SubsetFormat,
    scores: Scores | None,
    escape: CsvEscape | None,
) -> Iterator[bytes]:
    match chosen:
        case "jsonl":
            return _jsonl(reader, rows, scores)
        case "json":
            return _json(reader, rows, scores)
        case "csv":
            return render_csv(reader, rows, _column_rows(reader, rows), scores, escape)
        case "parquet":
            return render_parquet(reader, rows, _column_rows(reader, rows), scores)
        case _:
            assert_never(chosen)


def _jsonl(reader: BlockReader, rows: Rows, scores: Scores | None) -> Iterator[bytes]:
    for found, lines in read_lines(reader, rows):
        yield _joined(_with_scores(found, lines, scores), before=b"", after=b"\n")


def _json(reader: BlockReader, rows: Rows, scores: Scores | None) -> Iterator[bytes]:
    opening = b"[\n"
    for found, lines in read_lines(reader, rows):
        joined = _joined(_with_scores(found, lines, scores), before=b",\n", after=b"")
        yield opening + joined.removeprefix(b",\n") if opening else joined
        opening = b""
    yield b"[]\n" if opening else b"\n]\n"


def _joined(lines: pa.Array, *, before: bytes, after: bytes) -> bytes:
    """All lines with something around each, without a Python object for any."""
    binary = lines.type
    parts = [pa.scalar(before, binary), lines, pa.scalar(after, binary), pa.scalar(b"", binary)]
    return data_bytes(pc.binary_join_element_wise(*parts))


def _with_scores(rows: Rows, lines: pa.Array, scores: Scores | None) -> pa.Array:
    if scores is None:
        return lines
    added = zip(lines.to_pylist(), scores(rows), strict=True)
    return pa.array(
        [
            b"".join((_open_end(line), b",", _QUOTED_MEMBER, b":", orjson.dumps(score), b"}"))
            for line, score in added
        ],
        lines.type,
    )


def _open_end(line: bytes) -> bytes:
    """The record without its closing brace, and without a member of our name."""
    if _QUOTED_MEMBER in line:
        record = parse_as_written(line)
        if MEMBER in record:
            del record[MEMBER]
            line = dump_as_written(record)
    return line.rstrip()[:-1]


def _column_rows(reader: BlockReader, rows: Rows) -> Rows:
    """The rows that say which columns there are: those chosen, else the first usable one."""
    if len(rows):
        return np.sort(rows)
    for block in range(reader.num_blocks):
        for outcome in reader.outcomes(block):
            if isinstance(outcome, Example):
                return np.array([outcome.row])
    return rows
