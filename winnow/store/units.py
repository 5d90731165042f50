"""Units of work as rows: adding them, telling workers about them, taking them back.

Lock order, everywhere in the store: the unit that is being worked on, the losses that it stores (in the order of their
keys), its dataset or fine-tune, its runs (in the order of their ids), then other units, and those only with SKIP
LOCKED. Hence nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Row

from winnow.messages import QUEUE_IO, Wakeup
from winnow.store.clock import clock
from winnow.store.tables import run, work

IO_ATTEMPTS = 10
"""Tries of work that only moves bytes; what it waits for (a disk, a bucket) may be away for minutes."""


def enqueue(  # the columns of a unit
    conn: Connection,
    *,
    kind: str,
    subject: str,
    dataset_id: str | None = None,
    run_id: str | None = None,
    fine_tune_id: str | None = None,
    queue: str = QUEUE_IO,
    max_attempts: int = IO_ATTEMPTS,
) -> list[Wakeup]:
    """Add one unit and note it as published; none if the one of its kind that may exist is there already."""
    added = conn.execute(
        upsert(work)
        .values(
            kind=kind,
            subject=subject,
            dataset_id=dataset_id,
            run_id=run_id,
            fine_tune_id=fine_tune_id,
            queue=queue,
            max_attempts=max_attempts,
            published_at=clock(),
            publishes=1,
        )
        .on_conflict_do_nothing()
        .returning(work.c.id, work.c.queue)
    )
    return wakeups(added)


def add_scoring(conn: Connection, run_id: str, *, queue: str) -> None:
    """Cut a run into units of whole blocks. They are published window by window."""
    size = run.c.blocks_per_unit
    first = (
        func.generate_series(0, run.c.blocks - 1, size)
        .table_valued("block")
        .render_derived()
        .lateral()
    )
    values = {
        "kind": literal("score"),
        "subject": run.c.id,
        "run_id": run.c.id,
        "first_block": first.c.block,
        "num_blocks": func.least(size, run.c.blocks - first.c.block),
        "queue": literal(queue),
        "max_attempts": run.c.max_attempts,
    }
    units = select(*values.values()).select_from(run.join(first, true())).where(run.c.id == run_id)
    conn.execute(insert(work).from_select(list(values), units))


def publish_window(conn: Connection, run_id: str) -> list[Wakeup]:
    """Publish the next units of a run, up to its window. What is running or published counts as in flight."""
    in_flight = (
        select(func.count())
        .select_from(work)
        .where(work.c.run_id == run_id, work.c.kind == "score", or_(_running(), _published()))
        .scalar_subquery()
    )
    room = select(func.greatest(run.c.units_in_flight - in_flight, 0)).where(run.c.id == run_id)
    due = (
        select(work.c.id)
        .where(work.c.run_id == run_id, work.c.kind == "score", waiting_unpublished())
        .order_by(work.c.first_block)
        .limit(room.scalar_subquery())
        .with_for_update(skip_locked=True)
    )
    return mark_published(conn, work.c.id.in_(due), publishes=1)


def mark_published(
    conn: Connection, which: ColumnElement[bool], *, publishes: int | ColumnElement[int]
) -> list[Wakeup]:
    """Note that messages for these units go out now, and return them."""
    marked = conn.execute(
        update(work)
        .where(which)
        .values(published_at=clock(), publishes=publishes)
        .returning(work.c.id, work.c.queue)
    )
    return wakeups(marked)


def cancel_queued(conn: Connection, which: ColumnElement[bool]) -> None:
    """Cancel those of some units that nobody works on. One that is being claimed now learns at its next renewal."""
    queued = select(work.c.id).where(which, work.c.state == "queued")
    conn.execute(
        update(work)
        .where(work.c.id.in_(queued.with_for_update(skip_locked=True)))
        .values(state="cancelled", finished_at=clock())
    )


def waiting_unpublished() -> ColumnElement[bool]:
    """Queued, due, and no message sent."""
    return and_(
        work.c.state == "queued", work.c.published_at.is_(None), work.c.available_at <= clock()
    )


def wakeups(rows: Iterable[Row[Any]]) -> list[Wakeup]:
    """Messages for units (their id and queue), in the order of their ids."""
    in_order = sorted(rows, key=attrgetter("id"))
    return [Wakeup(work_id=row.id, queue=row.queue) for row in in_order]


def _running() -> ColumnElement[bool]:
    return work.c.state == "running"


def _published() -> ColumnElement[bool]:
    return and_(work.c.state == "queued", work.c.published_at.is_not(None))
