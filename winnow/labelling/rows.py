"""Records and what is said of them, row by row in any order: what every format of a labelling platform goes through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from winnow.labelling.prediction import Prediction, Predictions
from winnow.records.blocks import BlockReader, Rows
from winnow.records.json_text import parse_as_written
from winnow.records.lines import read_lines

UNREADABLE = "record"
"""Field that holds the text of a row that is no object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRow:
    """One row; `record` is as `parse_as_written` gives it, or the text of a row that is no object."""

    row: int
    record: dict[str, Any]
    prediction: Prediction


def read_labelled(
    reader: BlockReader, rows: Rows, predictions: Predictions
) -> Iterator[LabelledRow]:
    """Yield rows in the order given, a block of them in memory at a time."""
    for found, lines in read_lines(reader, rows):
        said = predictions(found)
        for row, line, prediction in zip(found.tolist(), lines, said, strict=True):
            yield LabelledRow(row=row, record=_record(line.as_py()), prediction=prediction)


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = parse_as_written(line)
    except (ValueError, RecursionError):  # a row that was rejected because it does not parse
        record = None
    if isinstance(record, dict):
        return record
    return {UNREADABLE: line.decode(errors="replace")}
