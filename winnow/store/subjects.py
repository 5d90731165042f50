"""What a unit of work is for, and what happening to the unit means for that.

A unit is for a dataset, a run, a selection of a run, a fine-tune or a trajectory. A purge is for nothing that could be
told of it, or fail.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, or_, select, update

from winnow.messages import Wakeup
from winnow.store import fine_tune_progress, progress, trajectory_progress, units
from winnow.store.clock import clock
from winnow.store.events import add_event
from winnow.store.tables import (
    dataset,
    fine_tune,
    run,
    selection,
    trajectory,
    webhook_delivery,
    work,
)
from winnow.store.values import ErrorInfo
from winnow.store.webhooks import fail_delivery


def stopped() -> ColumnElement[bool]:
    """What a unit is for was cancelled, paused or deleted, or has failed: nobody should work on it."""
    gone = or_(run.c.status.in_(progress.STOPPED), run.c.deleted_at.is_not(None))
    return or_(
        exists().where(run.c.id == work.c.run_id, gone),
        exists().where(
            work.c.kind != "purge",
            trajectory.c.id == work.c.trajectory_id,
            trajectory.c.status.in_(trajectory_progress.STOPPED),
        ),
        exists().where(
            fine_tune.c.id == work.c.fine_tune_id,
            fine_tune.c.status.in_(fine_tune_progress.STOPPED),
        ),
        exists().where(dataset.c.id == work.c.dataset_id, dataset.c.deleted_at.is_not(None)),
        # The end of a run is told, however it ended, unless the run is gone.
        exists().where(
            webhook_delivery.c.id == work.c.delivery_id,
            run.c.id == webhook_delivery.c.run_id,
            run.c.deleted_at.is_not(None),
        ),
    )


def note_start(conn: Connection, unit: Row[Any]) -> None:
    """A worker begins with a unit: what it is for may be begun by that."""
    if unit.kind == "score":
        first = (run.c.id == unit.run_id) & run.c.scoring_at.is_(None)
        conn.execute(update(run).where(first).values(scoring_at=clock()))
    elif unit.kind == "train":
        fine_tune_progress.move(conn, unit.fine_tune_id, "running", "Training begins.")
        if unit.trajectory_id is not None:
            trajectory_progress.move(conn, unit.trajectory_id, "training", "Training begins.")
    elif unit.kind == "ingest":
        # A run that is being created on this dataset either is seen here, or sees this claim.
        read = select(dataset.c.id).where(dataset.c.id == unit.dataset_id)
        conn.execute(read.with_for_update(key_share=True))
        for run_id in progress.runs_waiting_for(conn, unit.dataset_id):
            progress.move(conn, run_id, "ingesting", "The dataset is being read.")


def publish_next(conn: Connection, unit: Row[Any]) -> list[Wakeup]:
    """Publish what the window of a run or trajectory has room for, now that a unit has left it."""
    if unit.kind == "score":
        return units.publish_window(conn, unit.run_id)
    if unit.kind == "evaluate":
        return units.publish_evaluation(conn, unit.trajectory_id)
    return []


def tell_retry(conn: Connection, unit: Row[Any], message: str, **data: Any) -> None:
    """Tell those who follow the run, trajectory or fine-tune of a unit that it is tried again."""
    if unit.kind in ("select", "purge"):
        return
    if unit.run_id is not None:
        add_event(conn, unit.run_id, "run.retry", message, data)
    elif unit.trajectory_id is not None:
        told = ("trajectory.retry", message, data)
        trajectory_progress.tell(conn, unit.trajectory_id, [told])
    elif unit.fine_tune_id is not None:
        fine_tune_progress.tell(conn, unit.fine_tune_id, [("fine_tune.retry", message, data)])


def fail_subject(conn: Connection, unit: Row[Any], error: ErrorInfo) -> list[Wakeup]:
    """Fail what a failed unit was for; with a dataset or a trajectory the runs that wait for it.

    Nothing fails with an index, which is asked for again when it is needed.
    """
    if unit.kind in ("purge", "index"):
        return []
    if unit.kind == "select":
        _fail_selection(conn, unit, error)
    elif unit.delivery_id is not None:
        fail_delivery(conn, unit.delivery_id, error)
    elif unit.run_id is not None:
        progress.fail_run(conn, unit.run_id, error)
    elif unit.trajectory_id is not None:
        return trajectory_progress.fail(conn, unit.trajectory_id, error)
    elif unit.fine_tune_id is not None:
        return fine_tune_progress.fail(conn, unit.fine_tune_id, error)
    elif unit.dataset_id is not None:
        _fail_dataset(conn, unit.dataset_id, error)
    return []


def _fail_selection(conn: Connection, unit: Row[Any], error: ErrorInfo) -> None:
    mine = (selection.c.run_id == unit.run_id) & (selection.c.key == unit.subject)
    failed = {"status": "failed", "error": error.as_dict(), "finished_at": clock()}
    conn.execute(update(selection).where(mine).values(failed))


def _fail_dataset(conn: Connection, dataset_id: str, error: ErrorInfo) -> None:
    failed = {"status": "failed", "error": error.as_dict()}
    conn.execute(update(dataset).where(dataset.c.id == dataset_id).values(failed))
    for run_id in progress.runs_waiting_for(conn, dataset_id):
        progress.fail_run(conn, run_id, error)
