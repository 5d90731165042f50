"""Healing: what a lost worker or a lost message left behind is set going again.

Every step of `STEPS` takes what it changes with SKIP LOCKED, so any number of sweepers may run, and none disturbs a
worker. Each is a transaction of its own, in which rows are locked in the order that `winnow.store.units` tells; two in
one would hold what the first has taken while the second waits. Steps are safe to repeat: what they publish twice is
claimed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from winnow.store.dry_runs import drop_records, drop_samples, drop_uploads
from winnow.store.span_losses import forget_losses
from winnow.store.subjects import fail_subject, stopped, tell_retry
from winnow.store.tables import fine_tune, idempotency_key, run, trajectory, work, worker
from winnow.store.trajectory_sweep import HEALING, heal_selections
from winnow.store.values import ErrorInfo, Swept
from winnow.store.webhooks import forget_deliveries, give_up_deliveries
from winnow.store.workers_registry import LIVE_WITHIN_S

REPUBLISH_CAP_S = 300.0
"""Messages for a unit that nobody takes are sent ever more seldom, but never more seldom than this."""

_MAX_DOUBLINGS = 16
"""Beyond this the cap has long been reached, and in a few days the power would overflow."""

KEEP_IDEMPOTENCY_S = 24 * 3600.0
KEEP_WORKERS_S = 3600.0

PURGE_BASE_S = 15 * 60.0
PURGE_CAP_S = 24 * 3600.0
"""A purge that was given up is tried once more after a quarter of an hour, then ever more seldom, at least daily."""

_BATCH = 1000

Step = Callable[[Connection, Settings], Swept]


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


def _cancel_stopped(conn: Connection) -> Swept:
    """Units of what is over, paused or gone, unless a worker still holds them."""
    open_ = or_(work.c.state == "queued", _expired())
    ids = conn.scalars(_locked(and_(open_, stopped()))).all()
    # Looked at again, now that they are held: a pause may have been taken back in between.
    cancelled = conn.execute(
        update(work)
        .where(work.c.id.in_(ids), stopped())
        .values(state="cancelled", finished_at=clock())
    )
    return Swept(count=cancelled.rowcount)


def _fail_exhausted(conn: Connection) -> Swept:
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
    return Swept(count=len(failed), wakeups=purges)


def _retry_purges(conn: Connection) -> list[Wakeup]:
    """Purges that were given up: what they were to delete is still there, and nobody else will ever ask for that."""
    waited_s = func.extract("epoch", clock() - work.c.finished_at)
    doublings = func.least(work.c.max_attempts - units.IO_ATTEMPTS, _MAX_DOUBLINGS)
    pause_s = func.least(PURGE_CAP_S, PURGE_BASE_S * func.power(2, doublings))
    given_up = and_(work.c.kind == "purge", work.c.state == "failed", waited_s > pause_s)
    again = conn.execute(
        update(work)
        .where(work.c.id.in_(_locked(given_up)))
        .values(
            state="queued",
            max_attempts=work.c.max_attempts + 1,
            available_at=clock(),
            finished_at=None,
            published_at=clock(),
            publishes=1,
        )
        .returning(work)
    )
    return units.wakeups(again)


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
        # A message to a receiver waits for a thread, not for the worker.
        or_(silent_s > patience_s, and_(work.c.kind != "deliver", _idle_worker())),
    )
    return units.mark_published(conn, work.c.id.in_(_locked(lost)), publishes=work.c.publishes + 1)


def _idle_worker() -> ColumnElement[bool]:
    mine = work.alias("mine")
    return exists().where(
        worker.c.seen_at > clock() - seconds(LIVE_WITHIN_S),
        work.c.queue == any_(worker.c.queues),
        # Messages to receivers are sent beside other work.
        ~exists().where(
            mine.c.worker_id == worker.c.id, mine.c.state == "running", mine.c.kind != "deliver"
        ),
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


def _forget_old(conn: Connection) -> Swept:
    """What nobody misses, and so counts as nothing."""
    old_key = idempotency_key.c.created_at < clock() - seconds(KEEP_IDEMPOTENCY_S)
    conn.execute(delete(idempotency_key).where(old_key))
    conn.execute(delete(worker).where(worker.c.seen_at < clock() - seconds(KEEP_WORKERS_S)))
    forget_deliveries(conn)
    return Swept(count=0)


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


def _told(heal: Callable[[Connection], list[Wakeup]]) -> Step:
    """A step that publishes one message for each thing that it heals."""

    def step(conn: Connection, _: Settings) -> Swept:
        wakeups = heal(conn)
        return Swept(count=len(wakeups), wakeups=wakeups)

    return step


def _counted(heal: Callable[[Connection], Swept]) -> Step:
    """A step that needs no settings."""
    return lambda conn, _: heal(conn)


def _lost(conn: Connection, settings: Settings) -> Swept:
    wakeups = _republish_lost(conn, settings.republish_after_s)
    return Swept(count=len(wakeups), wakeups=wakeups)


def _forget_losses(conn: Connection, settings: Settings) -> Swept:
    return Swept(count=forget_losses(conn, days=settings.cache_days))


STEPS: Sequence[tuple[str, Step]] = (
    ("cancelled", _counted(_cancel_stopped)),
    ("failed", _counted(_fail_exhausted)),
    ("lease_expired", _told(_requeue_expired)),
    ("purge_retried", _told(_retry_purges)),
    ("message_lost", _lost),
    ("published", _told(_publish_due)),
    ("finalised", _told(_finalise_complete)),
    ("restarted", _told(_restart_idle)),
    *(("healed", _counted(heal)) for heal in HEALING),
    ("healed", _counted(give_up_deliveries)),
    ("selecting", _told(heal_selections)),
    ("forgotten", _counted(_forget_old)),
    ("forgotten", _forget_losses),
    ("dropped", _told(drop_uploads)),
    ("dropped", _told(drop_records)),
    ("dropped", _told(drop_samples)),
)
"""What is healed, in this order, each in a transaction of its own; the names are for those who count."""
