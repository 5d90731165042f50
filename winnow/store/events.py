"""What happened to a run, numbered from 1 without gaps, so that a reader can go on where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from winnow.store.owned import check_run
from winnow.store.tables import event, run
from winnow.store.values import storable


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a subject; `created_at` in unix seconds."""

    seq: int
    type: str
    message: str
    data: dict[str, Any]
    created_at: float


def add_event(
    conn: Connection, run_id: str, type_: str, message: str, data: Mapping[str, Any] | None = None
) -> int:
    """Record an event of a run and return its number.

    The number comes from the run's own counter: the row lock that counting takes orders writers, so numbers appear to
    readers in order.
    """
    counted = update(run).where(run.c.id == run_id).values(event_seq=run.c.event_seq + 1)
    seq: int = conn.execute(counted.returning(run.c.event_seq)).scalar_one()
    insert_event(conn, run_id, seq, type_, message, data=data)
    return seq


def insert_event(  # the columns of an event
    conn: Connection,
    run_id: str,
    seq: int,
    type_: str,
    message: str,
    *,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Record an event whose number the caller took from the run's counter."""
    values = {"type": type_, "message": storable(message), "data": dict(data or {})}
    conn.execute(insert(event).values(subject=run_id, seq=seq, **values))


def list_events(
    conn: Connection, *, owner: str, subject: str, after_seq: int = 0, limit: int = 100
) -> list[Event]:
    """The next events of a run after the number `after_seq`.

    Raises:
        NotFound: the owner has no such run.
    """
    check_run(conn, owner=owner, run_id=subject)
    statement = (
        select(event)
        .where(event.c.subject == subject, event.c.seq > after_seq)
        .order_by(event.c.seq)
        .limit(limit)
    )
    return [
        Event(
            seq=row.seq,
            type=row.type,
            message=row.message,
            data=row.data,
            created_at=row.created_at.timestamp(),
        )
        for row in conn.execute(statement)
    ]
