"""Selections that take work: asked for by the gateway, made once by a unit of work, then read again and again.

The rows that one took lie in a blob of its own; here stands what was asked and what came of it. The newest of a run are
kept, the others are made again if they are asked for. All go away with their run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from winnow.errors import NotFound, SelectionNotReady
from winnow.messages import Wakeup
from winnow.store import units
from winnow.store.clock import clock, seconds
from winnow.store.owned import check_run
from winnow.store.tables import run, selection
from winnow.store.values import ErrorInfo
from winnow.store.work import Claim, close

SelectionStatus = Literal["queued", "done", "failed"]

TRY_AGAIN_S = 60.0
"""A selection that failed is made anew if it is asked for later than this; until then the answer is why it failed."""

KEPT_PER_RUN = 32
"""Selections of a run that are kept once they are over; the oldest makes room for the next."""

MOST_WAITING = 16
"""Selections of one owner that may wait for a worker: each takes one for seconds to minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeavySelection:
    """What was asked of a run under `key`, and what came of it.

    If it is done, `blob` is where its rows lie and `result` what else is known of them; `error` if it failed.
    """

    run_id: str
    key: str
    request: dict[str, Any]
    status: SelectionStatus
    blob: str | None
    result: dict[str, Any] | None
    error: ErrorInfo | None


def request_selection(
    conn: Connection, *, owner: str, run_id: str, key: str, request: Mapping[str, Any]
) -> tuple[HeavySelection, list[Wakeup]]:
    """The selection of a run under `key`, which is enqueued if it is not there.

    `key` is a hash of `request`, fit for a file's name; two requests of one key are taken for one.

    Raises:
        NotFound: the owner has no such run.
        SelectionNotReady: too many of the owner's wait already.
    """
    check_run(conn, owner=owner, run_id=run_id)
    fresh = {"status": "queued", "error": None, "finished_at": None}
    begun = conn.execute(
        insert(selection)
        .values(run_id=run_id, key=key, request=dict(request))
        .on_conflict_do_update(
            index_elements=["run_id", "key"],
            set_=fresh,
            where=(selection.c.status == "failed")
            & (selection.c.finished_at < clock() - seconds(TRY_AGAIN_S)),
        )
        .returning(selection.c.key)
    ).one_or_none()
    if begun is None:
        return load_selection(conn, run_id, key), []
    _check_waiting(conn, owner)
    wakeups = [*units.enqueue_selection(conn, run_id, key), *_evict(conn, run_id)]
    return load_selection(conn, run_id, key), wakeups


def get_selection(conn: Connection, *, owner: str, run_id: str, key: str) -> HeavySelection:
    """The selection of a run under `key`.

    Raises:
        NotFound: the owner has no such run, or nobody has asked for this of it.
    """
    check_run(conn, owner=owner, run_id=run_id)
    row = conn.execute(_under(run_id, key)).one_or_none()
    if row is None:
        raise NotFound(f"Nobody has asked run {run_id!r} for the selection {key!r}.")
    return _selection(row)


def load_selection(conn: Connection, run_id: str, key: str) -> HeavySelection:
    """The selection of a run under `key`, for workers: `claim.run_id` and `claim.subject`."""
    return _selection(conn.execute(_under(run_id, key)).one())


def finish_select(
    conn: Connection, claim: Claim, *, blob: str, result: Mapping[str, Any]
) -> list[Wakeup]:
    """The rows of a selection are stored in `blob`: it is done, and `result` is what the gateway should know of it.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    row = close(conn, claim, "done", finished_at=clock())
    done = {"status": "done", "blob": blob, "result": dict(result), "finished_at": clock()}
    mine = (selection.c.run_id == row.run_id) & (selection.c.key == row.subject)
    conn.execute(update(selection).where(mine).values(done))
    return []


def _check_waiting(conn: Connection, owner: str) -> None:
    """Refuse the selection that was just added if that makes too many; its transaction is rolled back."""
    waiting = (
        select(func.count())
        .select_from(selection.join(run, run.c.id == selection.c.run_id))
        .where(run.c.owner == owner, run.c.deleted_at.is_(None), selection.c.status == "queued")
    )
    if conn.execute(waiting).scalar_one() > MOST_WAITING:
        raise SelectionNotReady(
            f"{MOST_WAITING} selections of yours are still being made. Ask again after Retry-After seconds.",
            param="strategy",
        )


def _evict(conn: Connection, run_id: str) -> list[Wakeup]:
    """Forget the oldest selections of a run beyond those that are kept, and have their blobs removed."""
    over = (selection.c.run_id == run_id) & (selection.c.status != "queued")
    newest = select(selection.c.key).where(over).order_by(selection.c.finished_at.desc())
    old = newest.offset(KEPT_PER_RUN).with_for_update(skip_locked=True)
    gone = conn.scalars(
        delete(selection)
        .where(selection.c.run_id == run_id, selection.c.key.in_(old))
        .returning(selection.c.blob)
    ).all()
    return [
        wakeup
        for blob in gone
        if blob is not None
        for wakeup in units.enqueue(conn, kind="purge", subject=blob)
    ]


def _under(run_id: str, key: str) -> Select[Any]:
    return select(selection).where(selection.c.run_id == run_id, selection.c.key == key)


def _selection(row: Row[Any]) -> HeavySelection:
    return HeavySelection(
        run_id=row.run_id,
        key=row.key,
        request=row.request,
        status=row.status,
        blob=row.blob,
        result=row.result,
        error=ErrorInfo.read(row.error),
    )
