"""One row of a run, whole."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel

from service.resources import Resources
from service.runs.columns import records_of
from service.runs.results import refuse_dry_run
from service.runs.schemas import ScoreView
from winnow.errors import NotFound, ScoresNotReady
from winnow.records.example import Example, Role
from winnow.scores import score_batch, score_records
from winnow.store.runs import Run, get_run
from winnow.store.scores import page_scores


class TurnView(BaseModel):
    """One message of what was read from a record."""

    role: Role
    content: str


class RowDetail(ScoreView):
    """A row: what it scored, what was read from it, and the record as it came in, as one line of JSON.

    `turns` is null where nothing could be read; `record` then is what stood there, whatever it is, with U+FFFD for
    bytes that are no text. Of a record that is longer than the installation reads it is the beginning.
    """

    object: Literal["run.row"] = "run.row"
    run: str
    source: str | None
    id: str | None
    turns: list[TurnView] | None
    record: str


def read_row(resources: Resources, owner: str, run_id: str, row: int) -> RowDetail:
    """A row of a run of the owner, also of one that still works on others.

    Raises:
        NotFound: the owner has no such run, or it has no such row.
        ScoresNotReady: the row has not been scored yet.
        RunNotUsable: it is a dry run.
    """
    with resources.database.transaction() as connection:
        run = get_run(connection, owner=owner, run_id=run_id)
        refuse_dry_run(run)
        scores = page_scores(connection, owner=owner, run_id=run_id, after_row=row - 1, limit=1)
    if not scores.items or scores.items[0].row != row:
        raise _missing(run, row)
    (score,) = score_records(score_batch(scores.items))
    records = records_of(resources, run.dataset_id)
    place = np.array([row])
    ((example,),) = records.select(place)
    ((_, lines),) = records.raw(place)
    read = example if isinstance(example, Example) else None
    return RowDetail(
        **score,
        run=run.id,
        source=read and read.source,
        id=read and read.id,
        turns=read and [TurnView(role=turn.role, content=turn.content) for turn in read.turns],
        record=lines[0].as_py().decode("utf-8", "replace"),
    )


def _missing(run: Run, row: int) -> NotFound | ScoresNotReady:
    if run.active and (run.rows is None or row < run.rows):
        return ScoresNotReady(
            f"Row {row} of the run {run.id} is not scored yet. Ask again after Retry-After seconds."
        )
    return NotFound(
        f"The run {run.id} has no row {row}; it has {run.rows or 'none'}, counted from 0."
    )
