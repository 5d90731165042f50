"""Counts of what there is, for /metrics."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from winnow.store.tables import run, work


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkCount:
    """How many units of one kind are in one state on one queue."""

    kind: str
    state: str
    queue: str
    count: int


def count_runs(conn: Connection) -> dict[str, int]:
    """Runs of all owners by status; deleted ones are not counted."""
    statement = (
        select(run.c.status, func.count().label("num_runs"))
        .where(run.c.deleted_at.is_(None))
        .group_by(run.c.status)
    )
    return {row.status: row.num_runs for row in conn.execute(statement)}


def count_work(conn: Connection) -> list[WorkCount]:
    """Units of work by kind, state and queue."""
    grouped = (work.c.kind, work.c.state, work.c.queue)
    statement = select(*grouped, func.count()).group_by(*grouped).order_by(*grouped)
    return [
        WorkCount(kind=kind, state=state, queue=queue, count=count)
        for kind, state, queue, count in conn.execute(statement)
    ]
