"""Units of work as a worker sees them: claim one, renew its lease while working, close it under the lease.

A message only says that a unit may be there. Whoever holds the lease token may close the unit; a worker that was too
slow finds that its token is gone, gets `LeaseLost`, and rolls back. So a unit counts once, however often it is tried.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Row, and_, func, insert, or_, select, update

from winnow.errors import LeaseLost
from winnow.estimate import Estimate
from winnow.messages import Wakeup
from winnow.records.example import Rejection
from winnow.scores import RowScore
from winnow.store import progress, units
from winnow.store.clock import clock, seconds
from winnow.store.purge import remove_rows
from winnow.store.scores import store_scores
from winnow.store.span_losses import NO_CACHE, CacheUse, keep_losses
from winnow.store.subjects import fail_subject, note_start, publish_next, stopped, tell_retry
from winnow.store.tables import dataset, rejection, run, work
from winnow.store.trajectory_use import start_run
from winnow.store.values import ErrorInfo, storable
from winnow.store.webhooks import wake

Kind = Literal[
    "ingest",
    "score",
    "estimate",
    "finalise",
    "select",
    "deliver",
    "index",
    "prepare",
    "train",
    "evaluate",
    "purge",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
State = Literal["queued", "running", "done", "failed", "cancelled"]

BACKOFF_BASE_S = 1.0
BACKOFF_CAP_S = 60.0
"""A failed attempt is tried again after 1, 2, 4 ... seconds, at most a minute."""

PUT_OFF_CAP_S = 300.0
"""What has waited for long asks every five minutes: thousands of messages to a receiver that hangs cost little then."""

_REJECTION_BATCH = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A unit that this worker holds until its lease runs out.

    `subject` is the id of what it is for; of a selection, its key. `checkpoint` is the position to evaluate.
    """

    work_id: int
    kind: Kind
    subject: str
    run_id: str | None
    trajectory_id: str | None
    checkpoint: int | None
    first_block: int
    num_blocks: int
    attempt: int
    max_attempts: int
    lease_token: str


def claim(
    conn: Connection,
    work_id: int,
    *,
    worker_id: str,
    lease_s: float,
    queues: Collection[str],
    kinds: Collection[str] = KINDS,
) -> Claim | None:
    """Take a unit, or None: it is taken, done, not due, out of attempts, not for this worker, or its run is over.

    For a worker are the `queues` that it listens to and the `kinds` that it knows: a later version may have others.
    One conditional UPDATE decides; of two workers that try at once, the second finds its condition no longer true.
    """
    row = conn.execute(
        update(work)
        .where(
            work.c.id == work_id,
            work.c.queue.in_(queues),
            work.c.kind.in_(kinds),
            work.c.attempt < work.c.max_attempts,
            or_(
                and_(work.c.state == "queued", work.c.available_at <= clock()),
                and_(work.c.state == "running", work.c.lease_expires_at < clock()),
            ),
            ~stopped(),
        )
        .values(
            state="running",
            attempt=work.c.attempt + 1,
            lease_token=secrets.token_hex(16),
            lease_expires_at=clock() + seconds(lease_s),
            worker_id=worker_id,
            rows_done=0,
        )
        .returning(work)
    ).one_or_none()
    if row is None:
        return None
    note_start(conn, row)
    return Claim(
        work_id=row.id,
        kind=row.kind,
        subject=row.subject,
        run_id=row.run_id,
        trajectory_id=row.trajectory_id,
        checkpoint=row.checkpoint,
        first_block=row.first_block,
        num_blocks=row.num_blocks,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        lease_token=row.lease_token,
    )


def renew(conn: Connection, claim: Claim, *, lease_s: float, rows_done: int) -> bool:
    """Keep the lease, store how many rows are done, and return whether the work was stopped meanwhile.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    row = conn.execute(
        update(work)
        .where(_held(claim))
        .values(lease_expires_at=clock() + seconds(lease_s), rows_done=rows_done)
        .returning(stopped().label("stopped"))
    ).one_or_none()
    if row is None:
        raise LeaseLost
    told_to_stop: bool = row.stopped
    return told_to_stop


def hold(conn: Connection, claim: Claim) -> Row[Any]:
    """The unit, kept from being taken over until the transaction ends: what is written beside it counts.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    row = conn.execute(select(work).where(_held(claim)).with_for_update()).one_or_none()
    if row is None:
        raise LeaseLost
    return row


def release(conn: Connection, claim: Claim) -> list[Wakeup]:
    """Give a unit back unfinished, as if it had not been tried: the worker is going away.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    row = close(
        conn,
        claim,
        "queued",
        attempt=work.c.attempt - 1,
        rows_done=0,
        available_at=clock(),
        published_at=clock(),
        publishes=1,
    )
    return [Wakeup(work_id=row.id, queue=row.queue)]


def put_off(conn: Connection, claim: Claim, *, delay_s: float) -> None:
    """Give a unit back for a while, as if it had not been tried: what it is for is in use.

    The pause grows with the age of the unit: a third of it, but `delay_s` at least and `PUT_OFF_CAP_S` at most.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    pause = func.greatest(seconds(delay_s), (clock() - work.c.created_at) / 3)
    later = clock() + func.least(pause, seconds(PUT_OFF_CAP_S))
    attempt = work.c.attempt - 1
    close(conn, claim, "queued", attempt=attempt, available_at=later, published_at=None)


def fail_attempt(
    conn: Connection, claim: Claim, error: ErrorInfo, *, permanent: bool
) -> list[Wakeup]:
    """Try a unit again later; if that is pointless, or this was the last attempt, fail its run or dataset.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    attempt = hold(conn, claim).attempt
    if permanent or attempt >= claim.max_attempts:
        row = close(conn, claim, "failed", error=error.as_dict(), finished_at=clock())
        return fail_subject(conn, row, error)
    delay_s = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** (attempt - 1))
    row = close(
        conn,
        claim,
        "queued",
        rows_done=0,
        error=error.as_dict(),
        available_at=clock() + seconds(delay_s),
        published_at=None,
    )
    told = f"Attempt {attempt} of {claim.max_attempts} at {row.kind} work failed: {error.message}"
    tell_retry(conn, row, told, attempt=attempt, in_s=delay_s)
    return publish_next(conn, row)


def finish_ingest(  # the facts of a dataset
    conn: Connection,
    claim: Claim,
    *,
    format: str,  # noqa: A002  # the word that users give
    rows_read: int,
    rows_usable: int,
    rows_rejected: int,
    num_blocks: int,
    rejections: Iterable[Rejection],
) -> list[Wakeup]:
    """The dataset is ready: keep what reading it found, and start the runs that waited for it.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    row = close(conn, claim, "done", rows_done=rows_read, finished_at=clock())
    conn.execute(
        update(dataset)
        .where(dataset.c.id == row.dataset_id)
        .values(
            status="ready",
            format=format,
            rows_read=rows_read,
            rows_usable=rows_usable,
            rows_rejected=rows_rejected,
            num_blocks=num_blocks,
        )
    )
    _store_rejections(conn, row.dataset_id, rejections)
    waiting = progress.runs_waiting_for(conn, row.dataset_id)
    return [wakeup for run_id in waiting for wakeup in start_run(conn, run_id)]


def finish_score(
    conn: Connection, claim: Claim, scores: Sequence[RowScore], use: CacheUse = NO_CACHE
) -> list[Wakeup]:
    """Keep the scores of a unit, count it on its run, and let the run go on: more units, or the finalise.

    `use` says what the unit took from the owner's cache of losses and what it leaves there.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    row = close(conn, claim, "done", rows_done=len(scores), finished_at=clock())
    of_run = conn.execute(select(run.c.status, run.c.owner).where(run.c.id == row.run_id)).one()
    if of_run.status != "scoring":
        return []
    store_scores(conn, row.run_id, scores)
    keep_losses(conn, owner=of_run.owner, use=use)
    counted = conn.execute(_counted(row, scores, use)).one_or_none()
    if counted is None:
        return []
    if counted.blocks_done == counted.blocks:
        return progress.start_finalising(conn, row.run_id, max_attempts=row.max_attempts)
    return units.publish_window(conn, row.run_id)


def finish_estimate(conn: Connection, claim: Claim, estimate: Estimate) -> list[Wakeup]:
    """The dry run has its estimate, and is complete.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    row = close(conn, claim, "done", rows_done=estimate.rows_sampled, finished_at=clock())
    progress.complete_dry(conn, row.run_id, estimate=estimate.as_dict())
    return wake(conn, row.run_id)


def finish_finalise(
    conn: Connection, claim: Claim, *, summary: dict[str, Any], warnings: Sequence[str]
) -> list[Wakeup]:
    """The run's results are in place: it is complete.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    row = close(conn, claim, "done", finished_at=clock())
    progress.complete(conn, row.run_id, summary=summary, warnings=warnings)
    return wake(conn, row.run_id)


def finish_purge(conn: Connection, claim: Claim) -> None:
    """The files of a deleted dataset or run are gone: remove its rows too.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    row = close(conn, claim, "done", finished_at=clock())
    remove_rows(conn, row.subject)


def _held(claim: Claim) -> Any:
    return and_(
        work.c.id == claim.work_id,
        work.c.state == "running",
        work.c.lease_token == claim.lease_token,
    )


def close(conn: Connection, claim: Claim, state: State, **values: Any) -> Row[Any]:
    """Take the unit out of the worker's hands, in `state`.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    row = conn.execute(
        update(work)
        .where(_held(claim))
        .values(state=state, lease_token=None, lease_expires_at=None, **values)
        .returning(work)
    ).one_or_none()
    if row is None:
        raise LeaseLost
    return row


def _counted(unit: Row[Any], scores: Sequence[RowScore], use: CacheUse) -> Any:
    num_scored = sum(one.reason is None for one in scores)
    return (
        update(run)
        .where(run.c.id == unit.run_id, run.c.status == "scoring")
        .values(
            blocks_done=run.c.blocks_done + unit.num_blocks,
            rows_done=run.c.rows_done + len(scores),
            rows_scored=run.c.rows_scored + num_scored,
            rows_rejected=run.c.rows_rejected + len(scores) - num_scored,
            rows_cached=run.c.rows_cached + use.num_rows_found,
        )
        .returning(run.c.blocks_done, run.c.blocks)
    )


def _store_rejections(conn: Connection, dataset_id: str, rejections: Iterable[Rejection]) -> None:
    values = (_rejection_values(dataset_id, one) for one in rejections)
    while batch := list(itertools.islice(values, _REJECTION_BATCH)):
        conn.execute(insert(rejection), batch)


def _rejection_values(dataset_id: str, one: Rejection) -> dict[str, Any]:
    return {
        "dataset_id": dataset_id,
        "row": one.row,
        "reason": one.reason.value,
        "detail": storable(one.detail),
    }
