"""Healing: what a lost worker or a lost message left behind is set going again.

Every step takes what it changes with SKIP LOCKED, so any number of sweepers may run, and none disturbs a worker. Steps
are safe to repeat: what they publish twice is claimed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    any_,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from winnow.messages import Wakeup
from winnow.settings import Settings
from winnow.store import fine_tune_progress, progress, trajectory_progress, units
from winnow.store.clock import clock, seconds
from winnow.store.dry_runs import drop_records, drop_uploads
from winnow.store.span_losses import forget_losses
from winnow.store.subjects import fail_subject, stopped, tell_retry
from winnow.store.tables import fine_tune, idempotency_key, run, trajectory, work, worker
from winnow.store.trajectory_sweep import heal_selections, heal_trajectories
from winnow.store.values import ErrorInfo
from winnow.store.workers_registry import LIVE_WITHIN_S

REPUBLISH_CAP_S = 300.0
"""Messages for a unit that nobody takes are sent ever more seldom, but never more seldom than this."""

_MAX_DOUBLINGS = 16
"""Beyond this the cap has long been reached, and in a few days the power would overflow."""

KEEP_IDEMPOTENCY_S = 24 * 3600.0
KEEP_WORKERS_S = 3600.0

_BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """Messages to publish after the commit, and how often each thing was healed."""

    wakeups: list[Wakeup]
    counts: dict[str, int]


def sweep(conn: Connection, settings: Settings) -> SweepResult:
    """Heal what can be healed now."""
    cancelled = _cancel_stopped(conn)
    failed, purges = _fail_exhausted(conn)
    expired = _requeue_expired(conn)
    lost = _republish_lost(conn, settings.republish_after_s)
    due = _publish_due(conn)
    finalised = _finalise_complete(conn)
    restarted = _restart_idle(conn)
    healed = heal_trajectories(conn)
    selecting = heal_selections(conn)
    _forget_old(conn)
    forgotten = forget_losses(conn, days=settings.cache_days)
    dropped = [*drop_uploads(conn), *drop_records(conn)]
    counts = {
        "cancelled": cancelled,
        "failed": failed,
        "lease_expired": len(expired),
        "message_lost": len(lost),
        "published": len(due),
        "finalised": len(finalised),
        "restarted": len(restarted),
        "healed": healed.count,
        "selecting": len(selecting),
        "forgotten": forgotten,
        "dropped": len(dropped),
    }
    wakeups = [
        *purges,
        *expired,
        *lost,
        *due,
        *finalised,
        *restarted,
        *healed.wakeups,
        *selecting,
        *dropped,
    ]
    return SweepResult(wakeups=wakeups, counts=counts)


def _expired() -> ColumnElement[bool]:
    return and_(work.c.state == "running", work.c.lease_expires_at < clock())


def _locked(which: ColumnElement[bool]) -> Select[tuple[int]]:
    """Ids of units that nobody else holds, in the order in which what they are for may be locked."""
    return (
        select(work.c.id)
        .where(which)
        .order_by(work.c.run_id, work.c.trajectory_id, work.c.fine_tune_id, work.c.id)
        .limit(_BATCH)
        .with_for_update(of=work, skip_locked=True)
    )


def _cancel_stopped(conn: Connection) -> int:
    """Units of what is over, paused or gone, unless a worker still holds them."""
    open_ = or_(work.c.state == "queued", _expired())
    ids = conn.scalars(_locked(and_(open_, stopped()))).all()
    # Looked at again, now that they are held: a pause may have been taken back in between.
    cancelled = conn.execute(
        update(work)
        .where(work.c.id.in_(ids), stopped())
        .values(state="cancelled", finished_at=clock())
    )
    return cancelled.rowcount


def _fail_exhausted(conn: Connection) -> tuple[int, list[Wakeup]]:
    """Units whose last attempt was lost: their run, fine-tune or dataset fails, and says so; what that sets going."""
    exhausted = and_(_expired(), work.c.attempt >= work.c.max_attempts)
    failed = conn.execute(
        update(work)
        .where(work.c.id.in_(_locked(exhausted)))
        .values(state="failed", finished_at=clock())
        .returning(work)
    ).all()
    in_order = sorted(failed, key=_lock_order)
    purges = [one for unit in in_order for one in fail_subject(conn, unit, _lost_worker(unit))]
    return len(failed), purges


def _requeue_expired(conn: Connection) -> list[Wakeup]:
    left = and_(_expired(), work.c.attempt < work.c.max_attempts)
    requeued = conn.execute(
        update(work)
        .where(work.c.id.in_(_locked(left)))
        .values(
            state="queued",
            lease_token=None,
            lease_expires_at=None,
            rows_done=0,
            available_at=clock(),
            published_at=clock(),
            publishes=1,
        )
        .returning(work)
    ).all()
    for unit in sorted(requeued, key=_lock_order):
        told = f"A worker went silent. Its {unit.kind} work goes to another one."
        tell_retry(conn, unit, told, attempt=unit.attempt)
    return units.wakeups(requeued)


def _republish_lost(conn: Connection, after_s: float) -> list[Wakeup]:
    """Units that were published and not claimed for long: their message may be lost.

    How long doubles with each message, because a unit may just as well wait its turn. While a worker of the unit's
    queue has nothing to do, it can't be waiting its turn.
    """
    silent_s = func.extract("epoch", clock() - work.c.published_at)
    doublings = func.least(work.c.publishes - 1, _MAX_DOUBLINGS)
    patience_s = func.least(REPUBLISH_CAP_S, after_s * func.power(2, doublings))
    lost = and_(
        work.c.state == "queued",
        silent_s > after_s,
        or_(silent_s > patience_s, _idle_worker()),
    )
    return units.mark_published(conn, work.c.id.in_(_locked(lost)), publishes=work.c.publishes + 1)


def _idle_worker() -> ColumnElement[bool]:
    mine = work.alias("mine")
    return exists().where(
        worker.c.seen_at > clock() - seconds(LIVE_WITHIN_S),
        work.c.queue == any_(worker.c.queues),
        ~exists().where(mine.c.worker_id == worker.c.id, mine.c.state == "running"),
    )


def _publish_due(conn: Connection) -> list[Wakeup]:
    """Units without a message: those that waited after a failed attempt, and those that a window has room for."""
    others = and_(units.waiting_unpublished(), work.c.kind.not_in(("score", "evaluate")))
    published = units.mark_published(conn, work.c.id.in_(_locked(others)), publishes=1)
    scoring = (
        select(run.c.id)
        .where(
            run.c.status == "scoring",
            exists().where(work.c.run_id == run.c.id, units.waiting_unpublished()),
        )
        .order_by(run.c.id)
    )
    for run_id in conn.scalars(scoring).all():
        published += units.publish_window(conn, run_id)
    evaluated = (
        select(trajectory.c.id)
        .where(
            trajectory.c.status.in_(trajectory_progress.ACTIVE),
            exists().where(work.c.trajectory_id == trajectory.c.id, units.waiting_unpublished()),
        )
        .order_by(trajectory.c.id)
    )
    for trajectory_id in conn.scalars(evaluated).all():
        published += units.publish_evaluation(conn, trajectory_id)
    return published


def _finalise_complete(conn: Connection) -> list[Wakeup]:
    """Runs all of whose blocks are scored, and nobody puts their results together."""
    complete = (
        select(run.c.id, run.c.max_attempts)
        .where(
            or_(
                and_(run.c.status == "scoring", run.c.blocks_done == run.c.blocks),
                run.c.status == "finalizing",
            ),
            ~exists().where(work.c.run_id == run.c.id, work.c.kind == "finalise"),
        )
        .order_by(run.c.id)
        .with_for_update(of=run, key_share=True, skip_locked=True)
    )
    return [
        wakeup
        for run_id, max_attempts in conn.execute(complete).all()
        for wakeup in progress.start_finalising(conn, run_id, max_attempts=max_attempts)
    ]


def _restart_idle(conn: Connection) -> list[Wakeup]:
    """Fine-tunes that should be worked on, and have no unit."""
    open_ = exists().where(
        work.c.fine_tune_id == fine_tune.c.id, work.c.state.in_(("queued", "running"))
    )
    idle = (
        select(fine_tune.c.id)
        .where(fine_tune.c.status.in_(fine_tune_progress.WORKING), ~open_)
        .order_by(fine_tune.c.id)
        .with_for_update(key_share=True, skip_locked=True)
    )
    return [
        wakeup
        for fine_tune_id in conn.scalars(idle).all()
        for wakeup in fine_tune_progress.set_going(conn, fine_tune_id)
    ]


def _forget_old(conn: Connection) -> None:
    old_key = idempotency_key.c.created_at < clock() - seconds(KEEP_IDEMPOTENCY_S)
    conn.execute(delete(idempotency_key).where(old_key))
    conn.execute(delete(worker).where(worker.c.seen_at < clock() - seconds(KEEP_WORKERS_S)))


def _lost_worker(unit: Row[Any]) -> ErrorInfo:
    last = "" if unit.error is None else f" The last error was: {unit.error['message']}"
    return ErrorInfo(
        code="worker_lost",
        message=f"A unit of {unit.kind} work was tried {unit.attempt} times, and each time its worker went silent."
        f"{last} Look at the workers' logs and memory, then start it again.",
    )


def _lock_order(unit: Row[Any]) -> tuple[bool, str, str, int]:
    """Datasets, then fine-tunes and trajectories, then runs."""
    job = unit.trajectory_id or unit.fine_tune_id or ""
    return unit.run_id is not None, unit.run_id or "", job, unit.id
