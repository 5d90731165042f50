"""What happened to a run, a fine-tune or a trajectory, numbered from 1 without gaps.

So a reader can go on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, insert, select, update

from winnow.store.owned import check_fine_tune, check_run, check_trajectory
from winnow.store.tables import event, fine_tune, run, trajectory
from winnow.store.values import Page, page_of, storable


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a subject; `created_at` in unix seconds."""

    seq: int
    type: str
    message: str
    data: dict[str, Any]
    created_at: float


def add_event(
    conn: Connection, subject: str, type_: str, message: str, data: Mapping[str, Any] | None = None
) -> int:
    """Record an event of a run or a fine-tune and return its number.

    The number comes from the subject's own counter: the row lock that counting takes orders writers, so numbers appear
    to readers in order.
    """
    table = _table_of(subject)
    counted = update(table).where(table.c.id == subject).values(event_seq=table.c.event_seq + 1)
    seq: int = conn.execute(counted.returning(table.c.event_seq)).scalar_one()
    insert_event(conn, subject, seq, type_, message, data=data)
    return seq


def insert_event(  # the columns of an event
    conn: Connection,
    subject: str,
    seq: int,
    type_: str,
    message: str,
    *,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Record an event whose number the caller took from the subject's counter."""
    values = {"type": type_, "message": storable(message), "data": dict(data or {})}
    conn.execute(insert(event).values(subject=subject, seq=seq, **values))


def list_events(
    conn: Connection, *, owner: str, subject: str, after_seq: int = 0, limit: int = 100
) -> list[Event]:
    """The next events of a run, a fine-tune or a trajectory after the number `after_seq`.

    Raises:
        NotFound: the owner has no such subject.
    """
    statement = _of(conn, owner, subject).where(event.c.seq > after_seq).order_by(event.c.seq)
    return [_event(row) for row in conn.execute(statement.limit(limit))]


def list_latest_events(
    conn: Connection, *, owner: str, subject: str, before_seq: int | None = None, limit: int = 20
) -> Page[Event]:
    """The events of a subject, the newest first, beginning before the number `before_seq`.

    Raises:
        NotFound: the owner has no such subject.
    """
    statement = _of(conn, owner, subject).order_by(event.c.seq.desc())
    if before_seq is not None:
        statement = statement.where(event.c.seq < before_seq)
    return page_of([_event(row) for row in conn.execute(statement.limit(limit + 1))], limit)


def _of(conn: Connection, owner: str, subject: str) -> Select[Any]:
    table = _table_of(subject)
    if table is fine_tune:
        check_fine_tune(conn, owner=owner, fine_tune_id=subject)
    elif table is trajectory:
        check_trajectory(conn, owner=owner, trajectory_id=subject)
    else:
        check_run(conn, owner=owner, run_id=subject)
    return select(event).where(event.c.subject == subject)


def _event(row: Row[Any]) -> Event:
    return Event(
        seq=row.seq,
        type=row.type,
        message=row.message,
        data=row.data,
        created_at=row.created_at.timestamp(),
    )


def _table_of(subject: str) -> Table:
    if subject.startswith("traj_"):
        return trajectory
    return fine_tune if subject.startswith("ftjob-") else run
