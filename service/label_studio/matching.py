"""Which row of a run a task is: by its prompt and answer, and only without those by the number or id that it carries.

    the task has                            its row
    --------------------------------------  ----------------------------------------------------------
    a record that can be read               one of the rows that hold the same record, or none
    a record that cannot be read            the row of its number or id, if that could not be read either
    no record under the names that fit      the row of its number or id, unchecked

Numbers are `winnow_row` (of this run, by `winnow_run`) and `row`, an id is that of the record, not Label Studio's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from service.label_studio.schemas import data_of
from winnow.labelling.record_index import id_key
from winnow.labelling.record_key import record_key
from winnow.labelling.task_fields import TaskFields

NO_RECORD = (
    "The task has no prompt and answer under names that are known here, and no number or id of a row. Name its fields "
    "at the end of the backend's URL: /prompt=FIELD&answer=FIELD."
)
NO_ROW = "No row of the run has this prompt and answer."
MAX_DIGITS = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedTask:
    """What a task says of its row: the `key` of its record, the `row` that it names, the key of its `id`.

    `unreadable`: it has a record, which is no example and so has no key.
    """

    key: bytes | None
    unreadable: bool
    row: int | None
    id: bytes | None

    @classmethod
    def read(cls, task: object, fields: TaskFields, *, run_id: str) -> Self:
        """What `task` says to the run."""
        data = data_of(task)
        record = fields.record(data)
        key = record_key(record) if record else None
        known = key is not None or data.get("winnow_run") == run_id
        numbers = [data.get("winnow_row") if known else None, data.get("row")]
        return cls(
            key=None if key is None else bytes.fromhex(key),
            unreadable=bool(record) and key is None,
            row=next((row for row in map(_row_number, numbers) if row is not None), None),
            id=_id(data.get("id")),
        )

    @property
    def keys(self) -> Collection[bytes]:
        """What is looked up for it."""
        if self.key is not None:
            return [self.key]
        return [] if self.id is None or self.row is not None else [self.id]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The row of a task, how it was found and whether its content is the task's; or `why` there is none."""

    row: int | None = None
    by: Literal["content", "row", "id"] | None = None
    checked: bool = False
    why: str | None = None


def match(task: AskedTask, rows_of: Mapping[bytes, Sequence[int]]) -> Match:
    """The row of a task; `rows_of` are the rows of its keys."""
    if task.key is None:
        return _unchecked(task, rows_of)
    rows = rows_of.get(task.key, ())
    if not rows:
        return Match(why=NO_ROW)
    if task.row in rows:
        return Match(row=task.row, by="row", checked=True)
    return Match(row=rows[0], by="content", checked=True)


def _unchecked(task: AskedTask, rows_of: Mapping[bytes, Sequence[int]]) -> Match:
    if task.row is not None:
        return Match(row=task.row, by="row")
    rows = () if task.id is None else rows_of.get(task.id, ())
    if len(rows) > 1:
        return Match(why="Several rows of the run have the id of the task.")
    return Match(row=rows[0], by="id") if rows else Match(why=NO_RECORD)


def settle(task: AskedTask, found: Match, scores: Mapping[int, Mapping[str, Any]]) -> Match:
    """The match, unless what is stored of the row contradicts it; `scores` are public forms by row."""
    if found.row is None:
        return found
    score = scores.get(found.row)
    if score is None:
        return Match(why=f"The run has no row {found.row}.")
    if task.unreadable and score["status"] == "scored":
        return Match(
            why=f"The record of the task cannot be read, and that of row {found.row}, which it names, can: they differ."
        )
    return found


def _row_number(value: object) -> int | None:
    """A whole number from 0; as text too, since CSV has nothing else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 10**MAX_DIGITS else None


def _id(value: object) -> bytes | None:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        return None
    return id_key(str(value))
