"""Removing what was deleted. The purge handler deletes the files first, and the rows go when its unit is finished.

In this order because files can be deleted twice, and the rows say which files there are.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, delete, exists, or_, select

from winnow.store.clock import clock
from winnow.store.tables import dataset, event, file, rejection, run, work


def run_ids_of(conn: Connection, dataset_id: str) -> list[str]:
    """The runs of a dataset, deleted ones too: each has a folder of files."""
    statement = select(run.c.id).where(run.c.dataset_id == dataset_id).order_by(run.c.id)
    return list(conn.scalars(statement))


def in_use(conn: Connection, subject: str) -> bool:
    """Whether a worker still works on the dataset, run or fine-tune, and so may still write a file of it."""
    runs = select(run.c.id).where(or_(run.c.dataset_id == subject, run.c.id == subject))
    running = exists().where(
        or_(
            work.c.dataset_id == subject,
            work.c.run_id.in_(runs),
            work.c.fine_tune_id == subject,
        ),
        work.c.state == "running",
        work.c.lease_expires_at > clock(),
    )
    return bool(conn.scalar(select(running)))


def remove_rows(conn: Connection, subject: str) -> None:
    """Remove a dataset or a run and everything made from it (runs, scores, work, events), or a file.

    A fine-tune stays: only what its training needed is purged. So does the record of a dry run that was not deleted,
    and with it the record of the dataset that was uploaded for it; who removes the last of these runs removes both.
    """
    of_run = select(run.c.dataset_id).where(run.c.id == subject)
    runs = select(run.c.id).where(
        or_(run.c.dataset_id == subject, run.c.id == subject), run.c.deleted_at.is_not(None)
    )
    # A worker that closes a unit right now holds that unit and asks for its run: wait for it before taking the run.
    held = select(work.c.id).where(or_(work.c.dataset_id == subject, work.c.run_id.in_(runs)))
    conn.execute(held.order_by(work.c.id).with_for_update())
    of_dataset = or_(dataset.c.id == subject, dataset.c.id.in_(of_run))
    ids = conn.scalars(select(dataset.c.id).where(of_dataset).with_for_update()).all()
    # A statement of its own: of two purges of one dataset the second sees, under the lock, that the first is done.
    purged = conn.scalars(
        select(dataset.c.id).where(
            dataset.c.id.in_(ids), or_(dataset.c.id == subject, _files_purged())
        )
    ).all()
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
