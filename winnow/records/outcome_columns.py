"""Outcomes as Arrow columns and back: what a block stores beside the records.

Turns are built and read as flat lists of roles and contents with offsets; nested Python values would take five times as
long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from winnow.records.example import Example, Rejection, RejectionReason, Turn

_TURN = pa.struct(
    [
        pa.field("role", pa.string(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
    ]
)
OUTCOME_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("turns", pa.list_(_TURN)),
        pa.field("source", pa.string()),
        pa.field("id", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
OUTCOME_NAMES: list[str] = OUTCOME_SCHEMA.names


def outcomes_to_arrays(outcomes: Sequence[Example | Rejection]) -> list[pa.Array]:
    """One array for each field of `OUTCOME_SCHEMA`."""
    columns: dict[str, list[Any]] = {name: [] for name in OUTCOME_NAMES if name != "turns"}
    for outcome in outcomes:
        columns["row"].append(outcome.row)
        for name in ("source", "id", "reason", "detail"):
            columns[name].append(getattr(outcome, name, None))
    return [
        _turns_to_array(outcomes)
        if field.name == "turns"
        else pa.array(columns[field.name], field.type)
        for field in OUTCOME_SCHEMA
    ]


def outcomes_from_table(table: pa.Table) -> list[Example | Rejection]:
    """The outcomes of a table with the columns of `OUTCOME_SCHEMA`, in its order."""
    rows, sources, ids, reasons, details = (
        table.column(name).to_pylist() for name in ("row", "source", "id", "reason", "detail")
    )
    turns = _turns_from_array(table.column("turns").combine_chunks())
    return [
        Example(row=row, turns=turns[i], source=sources[i], id=ids[i])
        if reasons[i] is None
        else Rejection(row=row, reason=RejectionReason(reasons[i]), detail=details[i])
        for i, row in enumerate(rows)
    ]


def _turns_to_array(outcomes: Sequence[Example | Rejection]) -> pa.Array:
    roles: list[str] = []
    contents: list[str] = []
    offsets: list[int | None] = []
    for outcome in outcomes:
        if not isinstance(outcome, Example):
            offsets.append(None)  # Arrow's way to say that the list is null
            continue
        offsets.append(len(roles))
        for turn in outcome.turns:
            roles.append(turn.role)
            contents.append(turn.content)
    offsets.append(len(roles))
    values = pa.StructArray.from_arrays(
        [pa.array(roles, pa.string()), pa.array(contents, pa.string())], fields=list(_TURN)
    )
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), values, type=OUTCOME_SCHEMA.field("turns").type
    )


def _turns_from_array(array: pa.ListArray) -> list[tuple[Turn, ...]]:
    offsets = array.offsets.to_pylist()
    roles = array.values.field("role").to_pylist()
    contents = array.values.field("content").to_pylist()
    turns = [
        Turn(role=role, content=content) for role, content in zip(roles, contents, strict=True)
    ]
    return [tuple(turns[offsets[i] : offsets[i + 1]]) for i in range(len(array))]
