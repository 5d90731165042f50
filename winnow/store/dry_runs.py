"""What goes by itself: the record of a dry run after an hour, a sample after a month, and the datasets of both.

All steps belong to the sweeper, so they hold for runs that failed or were cancelled too.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select, update

from winnow.messages import Wakeup
from winnow.store import units
from winnow.store.clock import clock, seconds
from winnow.store.progress import ACTIVE
from winnow.store.runs import delete_run
from winnow.store.tables import dataset, run, work

KEEP_S = 3600.0
KEEP_SAMPLES_S = 30 * 24 * 3600.0
"""Runs that were made on the side (`run.is_sample`); asked for again later, they are made again."""

_BATCH = 100


def drop_uploads(conn: Connection) -> list[Wakeup]:
    """Hide datasets that nothing but dry runs and samples has asked for, and have them purged.

    Dry runs need theirs until they are over, samples until they are deleted.
    """
    uploaded = ~dataset.c.kept & dataset.c.deleted_at.is_(None)
    in_use = or_(run.c.status.in_(ACTIVE), and_(run.c.is_sample, run.c.deleted_at.is_(None)))
    busy = exists().where(run.c.dataset_id == dataset.c.id, in_use)
    locked = select(dataset.c.id).where(uploaded, ~busy).order_by(dataset.c.id).limit(_BATCH)
    ids = conn.scalars(locked.with_for_update(key_share=True, skip_locked=True)).all()
    # Asked again in a statement of its own: under the lock it sees every run that was made on them.
    dropped = conn.scalars(
        update(dataset)
        .where(dataset.c.id.in_(ids), ~busy)
        .values(deleted_at=clock())
        .returning(dataset.c.id)
    ).all()
    for dataset_id in dropped:
        units.cancel_queued(conn, work.c.dataset_id == dataset_id)
    return [
        wakeup
        for dataset_id in dropped
        for wakeup in units.enqueue(conn, kind="purge", subject=dataset_id)
    ]


def drop_records(conn: Connection) -> list[Wakeup]:
    """Delete dry runs that ended more than an hour ago."""
    return _delete_ended(conn, run.c.dry_run, before_s=KEEP_S)


def drop_samples(conn: Connection) -> list[Wakeup]:
    """Delete samples that ended more than a month ago."""
    return _delete_ended(conn, run.c.is_sample, before_s=KEEP_SAMPLES_S)


def _delete_ended(conn: Connection, which: ColumnElement[bool], *, before_s: float) -> list[Wakeup]:
    old = select(run.c.id, run.c.owner).where(
        which, run.c.deleted_at.is_(None), run.c.finished_at < clock() - seconds(before_s)
    )
    oldest = old.order_by(run.c.id).limit(_BATCH)
    locked = oldest.with_for_update(key_share=True, skip_locked=True)
    return [
        wakeup
        for run_id, owner in conn.execute(locked).all()
        for wakeup in delete_run(conn, owner=owner, run_id=run_id)
    ]
