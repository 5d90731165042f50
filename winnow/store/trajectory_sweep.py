"""Healing of trajectories and heavy selections: what a fault left behind is set going again, or ended.

Whatever is changed is taken with SKIP LOCKED first, a trajectory together with its training; what somebody else holds
waits for the next sweep. A training without its unit is healed with the other fine-tunes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import ColumnElement, Connection, exists, select

from winnow.messages import Wakeup
from winnow.store import progress, units
from winnow.store import trajectory_progress as trajectories
from winnow.store.tables import fine_tune, run, selection, trajectory, work
from winnow.store.values import ErrorInfo, Swept

_BATCH = 100

_ACTIVE = trajectory.c.status.in_(trajectories.ACTIVE)


def heal_selections(conn: Connection) -> list[Wakeup]:
    """Enqueue selections that were asked for, and that no unit makes."""
    open_ = exists().where(
        work.c.run_id == selection.c.run_id,
        work.c.subject == selection.c.key,
        work.c.kind == "select",
        work.c.state.in_(("queued", "running")),
    )
    idle = (
        select(selection.c.run_id, selection.c.key)
        .join(run, run.c.id == selection.c.run_id)
        .where(selection.c.status == "queued", run.c.deleted_at.is_(None), ~open_)
        .limit(_BATCH)
        .with_for_update(of=selection, skip_locked=True)
    )
    return [
        wakeup
        for run_id, key in conn.execute(idle).all()
        for wakeup in units.enqueue_selection(conn, run_id, key)
    ]


def _held(conn: Connection, which: ColumnElement[bool]) -> list[str]:
    """Trajectories that nobody else holds, nor their training, in the order of their ids."""
    ids = conn.scalars(
        select(trajectory.c.id).where(which).order_by(trajectory.c.id).limit(_BATCH)
    ).all()
    trained = fine_tune.c.trajectory_id.in_(ids)
    all_of_them = set(conn.scalars(select(fine_tune.c.trajectory_id).where(trained)))
    free = select(fine_tune.c.trajectory_id).where(trained)
    held = set(conn.scalars(free.with_for_update(key_share=True, skip_locked=True)))
    mine = [id_ for id_ in ids if id_ in held or id_ not in all_of_them]
    # Looked at again, now that they are held.
    again = select(trajectory.c.id).where(trajectory.c.id.in_(mine), which)
    in_order = again.order_by(trajectory.c.id)
    return list(conn.scalars(in_order.with_for_update(key_share=True, skip_locked=True)))


def _trained(*statuses: str) -> ColumnElement[bool]:
    return exists().where(
        fine_tune.c.trajectory_id == trajectory.c.id, fine_tune.c.status.in_(statuses)
    )


def _has_run(*statuses: str) -> ColumnElement[bool]:
    return exists().where(run.c.trajectory_id == trajectory.c.id, run.c.status.in_(statuses))


def _end_with_training(conn: Connection, trajectory_id: str) -> list[Wakeup]:
    error = ErrorInfo.read(
        conn.scalar(select(fine_tune.c.error).where(fine_tune.c.trajectory_id == trajectory_id))
    )
    if error is not None:
        return trajectories.fail(conn, trajectory_id, error)
    return trajectories.cancel(conn, trajectory_id, "Its training was cancelled.")


def _fail_given_up(conn: Connection, trajectory_id: str) -> list[Wakeup]:
    """A unit of it failed without it: workers of the version before trajectories know nothing of what a unit is for."""
    error = ErrorInfo.read(
        conn.scalar(
            select(work.c.error).where(_given_up(trajectory_id)).order_by(work.c.id).limit(1)
        )
    )
    last = "" if error is None else f" ({error.message})"
    told = (
        f"A unit of its evaluation was given up{last}. If workers of an earlier version of Winnow are running, stop "
        "them; then start the run again."
    )
    return trajectories.fail(conn, trajectory_id, ErrorInfo(code="evaluation_failed", message=told))


def _given_up(trajectory_id: str | ColumnElement[str]) -> ColumnElement[bool]:
    return (
        (work.c.trajectory_id == trajectory_id)
        & (work.c.kind == "evaluate")
        & (work.c.state == "failed")
    )


def _step(
    which: ColumnElement[bool], heal: Callable[[Connection, str], list[Wakeup]]
) -> Callable[[Connection], Swept]:
    """Heals the trajectories of one kind."""

    def step(conn: Connection) -> Swept:
        ids = _held(conn, which)
        return Swept(count=len(ids), wakeups=[one for id_ in ids for one in heal(conn, id_)])

    return step


HEALING: Sequence[Callable[[Connection], Swept]] = (
    _step(
        trajectory.c.status.in_(("queued", "training")) & _trained("succeeded"),
        trajectories.finish_training,
    ),
    _step(_ACTIVE & _trained("failed", "cancelled"), _end_with_training),
    _step(_ACTIVE & exists().where(_given_up(trajectory.c.id)), _fail_given_up),
    _step(
        (trajectory.c.status == "evaluating")
        & (trajectory.c.checkpoints_done == trajectory.c.num_checkpoints),
        trajectories.complete,
    ),
    _step(_ACTIVE & ~_has_run(*progress.ACTIVE), trajectories.cancel_unused),
    _step(~_ACTIVE & _has_run("training"), trajectories.settle_runs),
)
"""Let trajectories and those that wait for them follow what has happened already."""
