"""Units of work as rows: adding them, telling workers about them, taking them back.

Lock order, everywhere in the store: the unit that is being worked on, the losses that it stores (in the order of their
keys), its dataset, its fine-tune, its trajectory, its runs (in the order of their ids), then other units, and those
only with SKIP LOCKED. Who takes several trajectories takes them in the order of their ids, each right after its own
fine-tune, and runs that wait for one with SKIP LOCKED. Hence nobody waits in a circle.

What other rows refer to is locked with `key_share` (FOR NO KEY UPDATE): Postgres looks at what a row refers to when it
is added, and again when it is changed twice in one transaction, and that would be out of order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
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
from winnow.store.tables import run, trajectory, work

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
    trajectory_id: str | None = None,
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
            trajectory_id=trajectory_id,
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
    columns = {"kind": literal("score"), "subject": run.c.id, "run_id": run.c.id}
    _add_blocks(conn, run, run_id, columns, queue=queue)


def add_evaluation(conn: Connection, trajectory_id: str, position: int, *, queue: str) -> None:
    """Cut the evaluation of a checkpoint into units of whole blocks. They are published window by window."""
    columns = {
        "kind": literal("evaluate"),
        "subject": trajectory.c.id,
        "trajectory_id": trajectory.c.id,
        "checkpoint": literal(position),
    }
    _add_blocks(conn, trajectory, trajectory_id, columns, queue=queue)


def _add_blocks(
    conn: Connection, table: Table, id_: str, columns: Mapping[str, Any], *, queue: str
) -> None:
    size = table.c.blocks_per_unit
    first = (
        func.generate_series(0, table.c.blocks - 1, size)
        .table_valued("block")
        .render_derived()
        .lateral()
    )
    values = {
        **columns,
        "first_block": first.c.block,
        "num_blocks": func.least(size, table.c.blocks - first.c.block),
        "queue": literal(queue),
        "max_attempts": table.c.max_attempts,
    }
    units = select(*values.values()).select_from(table.join(first, true())).where(table.c.id == id_)
    conn.execute(insert(work).from_select(list(values), units))


def publish_window(conn: Connection, run_id: str) -> list[Wakeup]:
    """Publish the next units of a run, up to its window. What is running or published counts as in flight."""
    of_it = and_(work.c.run_id == run_id, work.c.kind == "score")
    return _publish(conn, of_it, run.c.units_in_flight, run.c.id == run_id)


def publish_evaluation(conn: Connection, trajectory_id: str) -> list[Wakeup]:
    """Publish the next units of a trajectory, up to its window; checkpoint by checkpoint, since a worker keeps one."""
    of_it = and_(work.c.trajectory_id == trajectory_id, work.c.kind == "evaluate")
    mine = trajectory.c.id == trajectory_id
    return _publish(conn, of_it, trajectory.c.units_in_flight, mine)


def _publish(
    conn: Connection,
    of_it: ColumnElement[bool],
    window: ColumnElement[int],
    subject: ColumnElement[bool],
) -> list[Wakeup]:
    in_flight = (
        select(func.count())
        .select_from(work)
        .where(of_it, or_(_running(), _published()))
        .scalar_subquery()
    )
    room = select(func.greatest(window - in_flight, 0)).where(subject)
    due = (
        select(work.c.id)
        .where(of_it, waiting_unpublished())
        .order_by(work.c.checkpoint, work.c.first_block)
        .limit(room.scalar_subquery())
        .with_for_update(skip_locked=True)
    )
    return mark_published(conn, work.c.id.in_(due), publishes=1)


def enqueue_selection(conn: Connection, run_id: str, key: str) -> list[Wakeup]:
    """Add the unit that makes a selection of a run."""
    return enqueue(conn, kind="select", subject=key, run_id=run_id)


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
