"""JSONL in: one record a line, the line's own bytes kept.

Lines end at LF; a CR before it is dropped, blank lines are skipped (line numbers still count them), a byte order
mark at the start is dropped, and the last line needs no end.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from winnow.records.formats import BOM
from winnow.records.outcomes import KEPT_BYTES, read_outcome, reject_too_long
from winnow.records.record import Record

_SKIP_BYTES = 1 << 20


def read_json_lines(stream: io.BufferedReader, *, max_record_bytes: int) -> Iterator[Record]:
    """Yield one record for each line that is not blank."""
    row = number = 0
    while line := stream.readline(max_record_bytes + 2):
        number += 1
        where = f"line {number}"
        if len(line) > max_record_bytes and not line.endswith(b"\n"):
            _skip_line(stream)
            outcome = reject_too_long(max_record_bytes, row=row, where=where)
            yield Record(row=row, raw=line[:KEPT_BYTES], outcome=outcome)
            row += 1
            continue
        raw = (line.removeprefix(BOM) if number == 1 else line).rstrip(b"\r\n")
        if raw and not raw.isspace():
            yield Record(row=row, raw=raw, outcome=read_outcome(raw, row=row, where=where))
            row += 1


def _skip_line(stream: io.BufferedReader) -> None:
    """Read to the end of the line without keeping it."""
    while (rest := stream.readline(_SKIP_BYTES)) and not rest.endswith(b"\n"):
        pass
