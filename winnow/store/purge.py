"""Removing what was deleted. The purge handler deletes the files first, and the rows go when its unit is finished.

In this order because files can be deleted twice, and the rows say which files there are.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, or_, select, update

from winnow.store.clock import clock
from winnow.store.tables import (
    dataset,
    event,
    file,
    fine_tune,
    rejection,
    run,
    trajectory,
    trajectory_checkpoint,
    webhook_delivery,
    work,
)
from winnow.store.trajectory_progress import NAME_JOINT


def run_ids_of(conn: Connection, dataset_id: str) -> list[str]:
    """The runs of a dataset, deleted ones too: each has a folder of files."""
    statement = select(run.c.id).where(run.c.dataset_id == dataset_id).order_by(run.c.id)
    return list(conn.scalars(statement))


def trajectory_ids_of(conn: Connection, dataset_id: str) -> list[str]:
    """The trajectories of a dataset, those that are over too: each has a folder of files."""
    of_it = select(trajectory.c.id).where(trajectory.c.dataset_id == dataset_id)
    return list(conn.scalars(of_it.order_by(trajectory.c.id)))


def training_ids_of(conn: Connection, subject: str) -> list[str]:
    """The fine-tunes of the trajectories of a dataset, or that of a trajectory: each has a folder of files."""
    trained = select(fine_tune.c.id).join(trajectory, trajectory.c.id == fine_tune.c.trajectory_id)
    of_it = trained.where(or_(trajectory.c.dataset_id == subject, trajectory.c.id == subject))
    return list(conn.scalars(of_it.order_by(fine_tune.c.id)))


def in_use(conn: Connection, subject: str) -> bool:
    """Whether a worker still works on a dataset, run, trajectory or fine-tune, and so may still write a file of it."""
    runs = select(run.c.id).where(or_(run.c.dataset_id == subject, run.c.id == subject))
    trajectories = select(trajectory.c.id).where(trajectory.c.dataset_id == subject)
    running = exists().where(
        or_(
            work.c.dataset_id == subject,
            work.c.run_id.in_(runs),
            work.c.fine_tune_id == subject,
            work.c.trajectory_id.in_(trajectories),
            and_(work.c.trajectory_id == subject, work.c.kind != "purge"),
        ),
        work.c.state == "running",
        work.c.lease_expires_at > clock(),
    )
    return bool(conn.scalar(select(running)))


def remove_rows(conn: Connection, subject: str) -> None:
    """Remove a dataset, a run or a trajectory and everything made from it (scores, work, events), or a file.

    A fine-tune stays, and a trajectory that was not deleted: only their files are gone. So does the record of a dry run
    that was not deleted, and with it the record of the dataset that was uploaded for it; who removes the last of these
    runs removes both.
    """
    of_run = select(run.c.dataset_id).where(run.c.id == subject)
    runs = select(run.c.id).where(
        or_(run.c.dataset_id == subject, run.c.id == subject), run.c.deleted_at.is_not(None)
    )
    deleted = and_(trajectory.c.id == subject, trajectory.c.deleted_at.is_not(None))
    trajectories = select(trajectory.c.id).where(or_(trajectory.c.dataset_id == subject, deleted))
    messages = select(webhook_delivery.c.id).where(webhook_delivery.c.run_id.in_(runs))
    # A worker that closes a unit right now holds that unit and asks for its run: wait for it before taking the run.
    held = select(work.c.id).where(
        or_(
            work.c.dataset_id == subject,
            work.c.run_id.in_(runs),
            work.c.trajectory_id.in_(trajectories),
            work.c.delivery_id.in_(messages),
        )
    )
    conn.execute(held.order_by(work.c.id).with_for_update())
    of_dataset = or_(dataset.c.id == subject, dataset.c.id.in_(of_run))
    locked = select(dataset.c.id).where(of_dataset).with_for_update(key_share=True)
    ids = conn.scalars(locked).all()
    # A statement of its own: of two purges of one dataset the second sees, under the lock, that the first is done.
    purged = conn.scalars(
        select(dataset.c.id).where(
            dataset.c.id.in_(ids), or_(dataset.c.id == subject, _files_purged())
        )
    ).all()
    _remove_trajectories(conn, or_(trajectory.c.dataset_id.in_(purged), deleted))
    _note_weights_gone(conn, subject)
    conn.execute(delete(event).where(event.c.subject.in_(runs)))
    conn.execute(delete(run).where(run.c.id.in_(runs)))
    conn.execute(delete(rejection).where(rejection.c.dataset_id.in_(purged)))
    left = exists().where(run.c.dataset_id == dataset.c.id)
    conn.execute(delete(dataset).where(dataset.c.id.in_(purged), ~left))
    conn.execute(delete(file).where(file.c.id == subject))


def _files_purged() -> ColumnElement[bool]:
    return exists().where(
        work.c.subject == dataset.c.id, work.c.kind == "purge", work.c.state == "done"
    )


def _remove_trajectories(conn: Connection, which: ColumnElement[bool]) -> None:
    gone = select(trajectory.c.id).where(which)
    trained = select(fine_tune.c.id).where(fine_tune.c.trajectory_id.in_(gone))
    either = or_(event.c.subject.in_(gone), event.c.subject.in_(trained))
    conn.execute(delete(event).where(either))
    conn.execute(delete(trajectory).where(which))


def _note_weights_gone(conn: Connection, subject: str) -> None:
    """Of a trajectory, or of one checkpoint of it; a folder of the user's own is not ours to remove."""
    trajectory_id, _, position = subject.partition(NAME_JOINT)
    table = trajectory_checkpoint
    trained = exists().where(fine_tune.c.trajectory_id == table.c.trajectory_id)
    which = and_(table.c.trajectory_id == trajectory_id, trained)
    if position:
        which = and_(which, table.c.position == int(position))
    conn.execute(update(table).where(which).values(folder=None))
