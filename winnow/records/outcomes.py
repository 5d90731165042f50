"""Bytes of a row become its outcome: an `Example`, or a `Rejection` that names the place."""

from __future__ import annotations

from winnow.records.example import Example, Rejection, RejectionReason
from winnow.records.json_text import MalformedJson, parse_json
from winnow.records.schemas import to_example

KEPT_BYTES = 4096
"""How much of an over-long record is kept, for a human to recognise it."""


def read_outcome(text: bytes, *, row: int, where: str) -> Example | Rejection:
    """Parse one JSON text and read it as a record."""
    try:
        record = parse_json(text)
    except MalformedJson as problem:
        return reject_malformed(str(problem), row=row, where=where)
    return to_example(record, row=row, where=where)


def reject_malformed(why: str, *, row: int, where: str) -> Rejection:
    """A rejection for bytes that are no record at all."""
    return Rejection(row=row, reason=RejectionReason.MALFORMED, detail=f"{where}: {why}.")


def reject_too_long(max_bytes: int, *, row: int, where: str) -> Rejection:
    """A rejection for a record longer than the limit; its content was not kept."""
    return reject_malformed(
        f"the record is longer than {max_bytes:,} bytes; shorten it, or raise WINNOW_MAX_RECORD_BYTES",
        row=row,
        where=where,
    )
