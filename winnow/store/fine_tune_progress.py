"""The status of a fine-tune: the only place that changes it.

    validating_files -> queued -> running -> succeeded
    any of the first three -> paused -> validating_files | queued
    any of these four -> failed | cancelled

Every change is an event of the fine-tune. It stays `running` while another worker is waited for. Whatever ends it has
the blobs that only its training needed removed, and its receiver told, if it has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, func, select, update

from winnow.messages import QUEUE_IO, QUEUE_TRAIN, Wakeup
from winnow.store import units
from winnow.store.clock import clock
from winnow.store.events import insert_event
from winnow.store.tables import fine_tune, work
from winnow.store.values import ErrorInfo
from winnow.store.webhooks import announce_fine_tune, wake

FineTuneStatus = Literal[
    "validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"
]

WORKING: tuple[FineTuneStatus, ...] = ("validating_files", "queued", "running")
NewEvent = tuple[str, str, Mapping[str, Any]]
"""Type, message and data of an event that has no number yet."""

ACTIVE: tuple[FineTuneStatus, ...] = (*WORKING, "paused")
STOPPED: tuple[FineTuneStatus, ...] = ("paused", "failed", "cancelled")

_FROM: dict[FineTuneStatus, tuple[FineTuneStatus, ...]] = {
    "validating_files": ("paused",),
    "queued": ("validating_files", "paused"),
    "running": ("queued",),
    "paused": WORKING,
    "succeeded": ("running",),
    "failed": ACTIVE,
    "cancelled": ACTIVE,
}


def move(
    conn: Connection, fine_tune_id: str, to: FineTuneStatus, message: str, **values: Any
) -> bool:
    """Change the status and record it; False if the present one forbids the change, and nothing happens."""
    row = conn.execute(
        update(fine_tune)
        .where(fine_tune.c.id == fine_tune_id, fine_tune.c.status.in_(_FROM[to]))
        .values(status=to, event_seq=fine_tune.c.event_seq + 1, **_times(to), **values)
        .returning(fine_tune)
    ).one_or_none()
    if row is None:
        return False
    told = {"status": to}
    insert_event(conn, fine_tune_id, row.event_seq, f"fine_tune.{to}", message, data=told)
    if to not in ACTIVE:
        announce_fine_tune(conn, row)
    return True


def tell(conn: Connection, fine_tune_id: str, events: Sequence[NewEvent], **values: Any) -> bool:
    """Record events, and with them what is known now; False if it is over, and nothing happens.

    So nothing stands behind the event that ended it, which is where those who follow it stop.
    """
    last = conn.scalar(
        update(fine_tune)
        .where(fine_tune.c.id == fine_tune_id, fine_tune.c.status.in_(ACTIVE))
        .values(event_seq=fine_tune.c.event_seq + len(events), **values)
        .returning(fine_tune.c.event_seq)
    )
    if last is None:
        return False
    for seq, (type_, message, data) in enumerate(events, start=last - len(events) + 1):
        insert_event(conn, fine_tune_id, seq, type_, message, data=data)
    return True


def finish_validating(
    conn: Connection, fine_tune_id: str, events: Sequence[NewEvent], **values: Any
) -> list[Wakeup]:
    """The files are in order: let a training worker have it; one that was paused meanwhile when it is resumed."""
    if not tell(conn, fine_tune_id, events, **values):
        return []
    status = conn.scalar(select(fine_tune.c.status).where(fine_tune.c.id == fine_tune_id))
    return [] if status == "paused" else _start_training(conn, fine_tune_id)


def pause(conn: Connection, fine_tune_id: str) -> bool:
    """Take it out of the workers' hands, to go on later: queued units at once, a running one at its next renewal."""
    paused = move(conn, fine_tune_id, "paused", "The job was paused.")
    if paused:
        units.cancel_queued(conn, work.c.fine_tune_id == fine_tune_id)
    return paused


def resume(conn: Connection, fine_tune_id: str) -> list[Wakeup]:
    """Let it go on where it was. A worker that has not heard of the pause yet keeps its unit and simply goes on."""
    # The unit before the fine-tune: the order in which a worker that finishes takes them.
    conn.execute(select(work.c.id).where(work.c.fine_tune_id == fine_tune_id).with_for_update())
    validated = conn.scalar(select(fine_tune.c.rows).where(fine_tune.c.id == fine_tune_id))
    if validated is not None:
        return _start_training(conn, fine_tune_id)
    if not move(conn, fine_tune_id, "validating_files", "The files of the job are validated."):
        return []
    return start_validating(conn, fine_tune_id)


def start_validating(conn: Connection, fine_tune_id: str) -> list[Wakeup]:
    """Have its files read."""
    return _enqueue(conn, fine_tune_id, "prepare")


def set_going(conn: Connection, fine_tune_id: str) -> list[Wakeup]:
    """Make the unit that is missing of one that should be worked on; none if it has one."""
    validated = conn.scalar(select(fine_tune.c.rows).where(fine_tune.c.id == fine_tune_id))
    return _enqueue(conn, fine_tune_id, "prepare" if validated is None else "train")


def succeed(conn: Connection, fine_tune_id: str, **values: Any) -> list[Wakeup]:
    """The result stands."""
    return _end(conn, fine_tune_id, "succeeded", "The job succeeded.", **values)


def fail(conn: Connection, fine_tune_id: str, error: ErrorInfo) -> list[Wakeup]:
    """End it with the reason."""
    return _end(conn, fine_tune_id, "failed", error.message, error=error.as_dict())


def cancel(conn: Connection, fine_tune_id: str) -> list[Wakeup]:
    """End it because its owner says so: queued units at once, a running one when it next renews its lease."""
    return _end(conn, fine_tune_id, "cancelled", "The job was cancelled.")


def _start_training(conn: Connection, fine_tune_id: str) -> list[Wakeup]:
    if not move(conn, fine_tune_id, "queued", "The job waits for a training worker."):
        return []
    return _enqueue(conn, fine_tune_id, "train")


def _enqueue(
    conn: Connection, fine_tune_id: str, kind: Literal["prepare", "train"]
) -> list[Wakeup]:
    known = select(fine_tune.c.max_attempts, fine_tune.c.trajectory_id)
    job = conn.execute(known.where(fine_tune.c.id == fine_tune_id)).one()
    return units.enqueue(
        conn,
        kind=kind,
        subject=fine_tune_id,
        fine_tune_id=fine_tune_id,
        trajectory_id=job.trajectory_id,
        queue=QUEUE_TRAIN if kind == "train" else QUEUE_IO,
        max_attempts=job.max_attempts,
    )


def _end(
    conn: Connection, fine_tune_id: str, to: FineTuneStatus, message: str, **values: Any
) -> list[Wakeup]:
    if not move(conn, fine_tune_id, to, message, **values):
        return []
    units.cancel_queued(conn, work.c.fine_tune_id == fine_tune_id)
    of = conn.scalar(select(fine_tune.c.trajectory_id).where(fine_tune.c.id == fine_tune_id))
    purge = units.enqueue(conn, kind="purge", subject=fine_tune_id, trajectory_id=of)
    return [*purge, *wake(conn, fine_tune_id)]


def _times(to: FineTuneStatus) -> dict[str, Any]:
    if to == "running":
        return {"started_at": func.coalesce(fine_tune.c.started_at, clock())}
    if to in ACTIVE:
        return {"estimated_finish": None}
    return {"finished_at": clock(), "estimated_finish": None}
