"""CSV and TSV in: quoted cells with line breaks, doubled quotes, UTF-8 with or without a byte order mark.

Every cell is a string, and comes out again as one. A row that cannot be read (another number of cells than the
header, a stray quote, bytes that are not UTF-8, too long) is a rejection with the line it begins on; reading goes on at
the next line.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator

import orjson

from winnow.errors import UnknownFormat
from winnow.records.example import Rejection
from winnow.records.formats import BOM
from winnow.records.outcomes import KEPT_BYTES, reject_malformed, reject_too_long
from winnow.records.record import Record
from winnow.records.schemas import has_known_columns, to_example

_SKIP_BYTES = 1 << 20
_ESCAPED_BYTES = re.compile("[\udc80-\udcff]")


class _TooLong(Exception):
    """The record at hand passed the limit; what is left of its line was skipped."""


class _Lines:
    """Decoded lines for the csv module, which remembers the bytes of the record at hand.

    A class and not a generator: it must go on after it has raised.
    """

    def __init__(self, stream: io.BufferedReader, max_record_bytes: int) -> None:
        self.number = 0
        self.first = 1
        self._stream = stream
        self._max_bytes = max_record_bytes + len(b"\r\n")
        self._lines: list[bytes] = []
        self._size = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(self._max_bytes - self._size + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if self.number == 1:
            line = line.removeprefix(BOM)
        self._lines.append(line)
        self._size += len(line)
        if self._size > self._max_bytes:
            self._skip_record()
            raise _TooLong
        return line.decode("utf-8", "surrogateescape")

    def _skip_record(self) -> None:
        """Read to the end of a record without keeping it: the first line end outside quotes."""
        odd = sum(line.count(b'"') for line in self._lines) % 2
        ended = self._lines[-1].endswith(b"\n")
        while (odd or not ended) and (piece := self._stream.readline(_SKIP_BYTES)):
            self.number += ended
            odd ^= piece.count(b'"') % 2
            ended = piece.endswith(b"\n")

    def begin_record(self) -> None:
        self.first = self.number + 1
        self._lines.clear()
        self._size = 0

    def record_bytes(self) -> bytes:
        return b"".join(self._lines).rstrip(b"\r\n")


def read_delimited(
    stream: io.BufferedReader, *, delimiter: str, max_record_bytes: int
) -> Iterator[Record]:
    """Yield one record for each row under the header.

    Raises:
        UnknownFormat: the header has a name twice, no known columns, or cannot be read.
    """
    csv.field_size_limit(max(csv.field_size_limit(), max_record_bytes))
    lines = _Lines(stream, max_record_bytes)
    cells = csv.reader(lines, delimiter=delimiter, strict=True)
    header = _read_header(cells)
    row = 0
    while True:
        lines.begin_record()
        found: list[str] | Rejection
        where = f"line {lines.first}"
        try:
            found = next(cells)
        except StopIteration:
            return
        except _TooLong:
            found = reject_too_long(max_record_bytes, row=row, where=where)
        except csv.Error as error:
            found = reject_malformed(_explain(error, lines), row=row, where=where)
        if not found:  # a blank line
            continue
        yield _record(found, header, lines, row=row, where=where)
        row += 1


def _read_header(cells: Iterator[list[str]]) -> list[str]:
    try:
        header = next((row for row in cells if row), [])
    except (csv.Error, _TooLong) as error:
        raise UnknownFormat("The header row cannot be read. Check its quotes.") from error
    repeated = [repr(name) for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise UnknownFormat(
            f"The header names {', '.join(repeated[:8])} more than once. Give every column its own name."
        )
    if not has_known_columns(header) or _ESCAPED_BYTES.search("".join(header)):
        raise UnknownFormat(
            "The header has no known columns, or is not UTF-8. Name them instruction and output, prompt and "
            "completion, messages, or conversations."
        )
    return header


def _explain(error: csv.Error, lines: _Lines) -> str:
    message = str(error)
    if "unexpected end of data" in message:
        rest = "" if lines.number == lines.first else f" and takes in all {lines.number} lines"
        return f"a quote is opened and never closed{rest}; close it, or double a quote that is text"
    return f"not valid CSV ({message}); quote the cell, and double the quotes in it"


def _record(
    found: list[str] | Rejection, header: list[str], lines: _Lines, *, row: int, where: str
) -> Record:
    if isinstance(found, Rejection):
        return Record(row=row, raw=lines.record_bytes()[:KEPT_BYTES], outcome=found)
    problem = _problem(found, header)
    if problem is not None:
        outcome = reject_malformed(problem, row=row, where=where)
        return Record(row=row, raw=lines.record_bytes(), outcome=outcome)
    fields = dict(zip(header, found, strict=True))
    return Record(
        row=row, raw=orjson.dumps(fields), outcome=to_example(fields, row=row, where=where)
    )


def _problem(found: list[str], header: list[str]) -> str | None:
    if len(found) != len(header):
        return f"{len(found)} cells under {len(header)} columns; quote cells that contain the delimiter or a line break"
    if any(not cell.isascii() and _ESCAPED_BYTES.search(cell) for cell in found):
        return "not valid UTF-8; save the file as UTF-8"
    return None
