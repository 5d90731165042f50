"""CSV out: RFC 4180 with its CRLF line ends, UTF-8 without a mark.

The header is the union of the keys of all chosen records, in first-seen order by row. Strings stand as they are,
numbers as written, true and false in lower case; null and an absent key are an empty cell; lists and objects are JSON
text.

A program that shows tables takes a cell that begins with `=`, `+`, `-` or `@` for a formula, which may run commands or
send the sheet away. These are training data, so by default they come out as they went in. For a file to be opened in
such a program, `escape="spreadsheet"` puts an apostrophe before cells like that (OWASP, CSV Injection), headers too;
numbers stay numbers. What was escaped is not the data any more: do not train on it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Literal

import orjson

from winnow.records.blocks import BlockReader, Rows
from winnow.records.json_text import dump_as_written, parse_as_written
from winnow.records.lines import read_lines
from winnow.records.score_member import MEMBER, SCORE_NAMES, Scores

CsvEscape = Literal["spreadsheet"]

# Full-width signs begin formulas in some locales; tab, CR and LF move what follows them into a cell of its own.
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]|[ \u00a0]+[=+\-@]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def render_csv(
    reader: BlockReader,
    rows: Rows,
    column_rows: Rows,
    scores: Scores | None,
    escape: CsvEscape | None = None,
) -> Iterator[bytes]:
    """Yield the header, then the rows; `column_rows` are the rows that make the header."""
    added = [f"{MEMBER}_{name}" for name in SCORE_NAMES] if scores is not None else []
    names = [name for name in _header(reader, column_rows) if name not in added]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_escaped([*names, *added], escape))
    for found, lines in read_lines(reader, rows):
        cells = [_cells(line, names) for line in lines.to_pylist()]
        if scores is not None:
            for row, score in zip(cells, scores(found), strict=True):
                row.extend(_score_cell(score.get(name)) for name in SCORE_NAMES)
        writer.writerows(_escaped(row, escape) for row in cells)
        yield _take(text)
    yield _take(text)


def _header(reader: BlockReader, rows: Rows) -> list[str]:
    keys: dict[str, None] = {}
    for _, lines in reader.raw(rows):
        for line in lines.to_pylist():
            keys.update(dict.fromkeys(parse_as_written(line)))
    return list(keys)


def _cells(line: bytes, names: list[str]) -> list[str]:
    record = parse_as_written(line)
    return [_cell(record.get(name)) for name in names]


def _cell(value: object) -> str:
    if isinstance(value, str):  # numbers too: they are kept as written
        return value
    return "" if value is None else dump_as_written(value).decode()


def _score_cell(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def _escaped(cells: list[str], escape: CsvEscape | None) -> list[str]:
    if escape is None:
        return cells
    return [f"'{cell}" if _is_formula(cell) else cell for cell in cells]


def _is_formula(cell: str) -> bool:
    return _FORMULA.match(cell) is not None and _NUMBER.fullmatch(cell) is None


def _take(text: io.StringIO) -> bytes:
    data = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return data
