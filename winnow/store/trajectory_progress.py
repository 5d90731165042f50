"""The status of a trajectory: the only place that changes it.

    queued -> training -> evaluating -> completed
    any of the first three -> failed | cancelled

One of the user's own checkpoints is evaluating from the start. Every change is an event of the trajectory, and so is
what its training tells. Whatever ends it settles the runs that wait for it: they begin to score, fail with its reason,
or are cancelled. A run that somebody else holds at that moment is left to the sweeper, so nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Row, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from winnow.messages import Wakeup
from winnow.spec import RunSpec
from winnow.store import fine_tune_progress, progress, units
from winnow.store.clock import clock
from winnow.store.events import insert_event
from winnow.store.fine_tune_progress import NewEvent
from winnow.store.tables import fine_tune, run, trajectory, trajectory_checkpoint, work
from winnow.store.values import ErrorInfo
from winnow.trajectory import Checkpoint, planned

TrajectoryStatus = Literal["queued", "training", "evaluating", "completed", "failed", "cancelled"]

ACTIVE: tuple[TrajectoryStatus, ...] = ("queued", "training", "evaluating")
STOPPED: tuple[TrajectoryStatus, ...] = ("failed", "cancelled")

_FROM: dict[TrajectoryStatus, tuple[TrajectoryStatus, ...]] = {
    "training": ("queued",),
    "evaluating": ("queued", "training"),
    "completed": ("evaluating",),
    "failed": ACTIVE,
    "cancelled": ACTIVE,
}

NAME_JOINT = "@"
"""Between the id of a trajectory and the position of a checkpoint."""


def move(
    conn: Connection, trajectory_id: str, to: TrajectoryStatus, message: str, **values: Any
) -> bool:
    """Change the status and record it; False if the present one forbids the change, and nothing happens."""
    seq = conn.scalar(
        update(trajectory)
        .where(trajectory.c.id == trajectory_id, trajectory.c.status.in_(_FROM[to]))
        .values(status=to, event_seq=trajectory.c.event_seq + 1, **_times(to), **values)
        .returning(trajectory.c.event_seq)
    )
    if seq is None:
        return False
    insert_event(conn, trajectory_id, seq, f"trajectory.{to}", message, data={"status": to})
    return True


def tell(conn: Connection, trajectory_id: str, events: Sequence[NewEvent], **values: Any) -> bool:
    """Record events, and with them what is known now; False if it is over, and nothing happens.

    Those of its training (`fine_tune.step`) become its own (`trajectory.step`).
    """
    last = conn.scalar(
        update(trajectory)
        .where(trajectory.c.id == trajectory_id, trajectory.c.status.in_(ACTIVE))
        .values(event_seq=trajectory.c.event_seq + len(events), **values)
        .returning(trajectory.c.event_seq)
    )
    if last is None:
        return False
    for seq, (type_, message, data) in enumerate(events, start=last - len(events) + 1):
        what = type_.rpartition(".")[-1]
        insert_event(conn, trajectory_id, seq, f"trajectory.{what}", message, data=data)
    return True


def checkpoint_name(trajectory_id: str, position: int) -> str:
    """What the weights of a checkpoint are called: by workers that load them, and by the unit that removes them."""
    return f"{trajectory_id}{NAME_JOINT}{position}"


def lock(conn: Connection, trajectory_id: str) -> None:
    """Hold a trajectory and its training until the transaction ends, in the order in which they may be locked."""
    training = select(fine_tune.c.id).where(fine_tune.c.trajectory_id == trajectory_id)
    conn.execute(training.with_for_update(key_share=True))
    _load(conn, trajectory_id, lock=True)


def plan(conn: Connection, trajectory_id: str, *, total_steps: int) -> None:
    """Training has settled how many steps it takes, and so how many checkpoints there will be."""
    options = RunSpec.read(_load(conn, trajectory_id).spec).trajectory
    assert options is not None  # noqa: S101  # a trajectory is made of them
    steps = planned(total_steps, options.n_epochs, options.points)
    tell(conn, trajectory_id, [], num_checkpoints=len(steps))


def add_checkpoint(
    conn: Connection, trajectory_id: str, checkpoint: Checkpoint, *, folder: str | None, queue: str
) -> bool:
    """Add a checkpoint and its units of evaluation, which are not published yet; False if its step is there already."""
    place = {name: getattr(checkpoint, name) for name in ("position", "step", "epoch", "point")}
    added = conn.scalar(
        insert(trajectory_checkpoint)
        .values(trajectory_id=trajectory_id, folder=folder, **place)
        .on_conflict_do_nothing()
        .returning(trajectory_checkpoint.c.position)
    )
    if added is None:
        return False
    units.add_evaluation(conn, trajectory_id, checkpoint.position, queue=queue)
    return True


def keep(
    conn: Connection, trajectory_id: str, checkpoint: Checkpoint, *, folder: str
) -> tuple[bool, list[Wakeup]]:
    """Have a checkpoint evaluated that has come; False: `folder` is not needed, it is there already or all is over."""
    now = _load(conn, trajectory_id, lock=True)
    if now.status not in ACTIVE:
        return False, []
    queue = progress.offer_of(RunSpec.read(now.spec)).queue
    if not add_checkpoint(conn, trajectory_id, checkpoint, folder=folder, queue=queue):
        # Its own folder: it is recorded already, by a transaction whose outcome nobody heard of.
        return folder == _folder_of(conn, trajectory_id, checkpoint), []
    data = {"position": checkpoint.position, "step": checkpoint.step, "epoch": checkpoint.epoch}
    tell(conn, trajectory_id, [("trajectory.kept", f"{_name(checkpoint)} is kept.", data)])
    return True, units.publish_evaluation(conn, trajectory_id)


def finish_training(conn: Connection, trajectory_id: str) -> list[Wakeup]:
    """Nothing more will be kept: what is left is evaluation. It fails if a checkpoint has never come."""
    now = _load(conn, trajectory_id, lock=True)
    mine = trajectory_checkpoint.c.trajectory_id == trajectory_id
    num_kept = conn.scalar(select(func.count()).where(mine))
    if num_kept != now.num_checkpoints:
        told = (
            f"Training ended with {num_kept} checkpoints of {now.num_checkpoints}: the others were lost. "
            "Start the run again; if that recurs, look at the log of the training worker."
        )
        return fail(conn, trajectory_id, ErrorInfo(code="checkpoint_lost", message=told))
    move(conn, trajectory_id, "evaluating", "Training is done; the rest is evaluation.")
    return complete(conn, trajectory_id)


def count_evaluated(
    conn: Connection, unit: Row[Any], *, rows: int, nll: float, num_tokens: int
) -> list[Wakeup]:
    """A unit is evaluated: count it on its checkpoint, and go on with what that allows."""
    trajectory_id = unit.trajectory_id
    if not tell(conn, trajectory_id, [], rows_done=trajectory.c.rows_done + rows):
        return []
    table = trajectory_checkpoint
    counted = conn.execute(
        update(table)
        .where(table.c.trajectory_id == trajectory_id, table.c.position == unit.checkpoint)
        .values(
            blocks_done=table.c.blocks_done + unit.num_blocks,
            nll=table.c.nll + nll,
            num_tokens=table.c.num_tokens + num_tokens,
        )
        .returning(table)
    ).one()
    wakeups: list[Wakeup] = []
    now = _load(conn, trajectory_id)
    if counted.blocks_done == now.blocks:
        wakeups = _finish_checkpoint(conn, now, counted)
    return [*wakeups, *units.publish_evaluation(conn, trajectory_id)]


def complete(conn: Connection, trajectory_id: str) -> list[Wakeup]:
    """Let the runs that wait have its losses, if all of its checkpoints are evaluated and none is to come."""
    now = _load(conn, trajectory_id, lock=True)
    if now.checkpoints_done != now.num_checkpoints:
        return []
    if not move(conn, trajectory_id, "completed", "Every checkpoint is evaluated."):
        return []
    return settle_runs(conn, trajectory_id)


def fail(conn: Connection, trajectory_id: str, error: ErrorInfo) -> list[Wakeup]:
    """End it with the reason, its training and the runs that wait for it too."""
    training = _training_of(conn, trajectory_id)
    wakeups = [] if training is None else fine_tune_progress.fail(conn, training, error)
    failed = move(conn, trajectory_id, "failed", error.message, error=error.as_dict())
    return [*wakeups, *(_clear(conn, trajectory_id) if failed else [])]


def cancel(conn: Connection, trajectory_id: str, message: str) -> list[Wakeup]:
    """End it because nobody wants it: queued units at once, running ones when they next renew their lease."""
    training = _training_of(conn, trajectory_id)
    wakeups = [] if training is None else fine_tune_progress.cancel(conn, training)
    cancelled = move(conn, trajectory_id, "cancelled", message)
    return [*wakeups, *(_clear(conn, trajectory_id) if cancelled else [])]


def cancel_unused(conn: Connection, trajectory_id: str) -> list[Wakeup]:
    """Cancel it if no run that goes on needs it."""
    users = exists().where(run.c.trajectory_id == trajectory_id, run.c.status.in_(progress.ACTIVE))
    if conn.scalar(select(users)):
        return []
    return cancel(conn, trajectory_id, "No run needs it any more.")


def settle_runs(conn: Connection, trajectory_id: str) -> list[Wakeup]:
    """Do with the runs that wait for a trajectory which is over what its end means for them."""
    over = _load(conn, trajectory_id)
    waiting = (
        select(run.c.id)
        .where(run.c.trajectory_id == trajectory_id, run.c.status == "training")
        .order_by(run.c.id)
        .with_for_update(key_share=True, skip_locked=True)
    )
    ids = conn.scalars(waiting).all()
    return [wakeup for run_id in ids for wakeup in _settle(conn, run_id, over)]


def _settle(conn: Connection, run_id: str, over: Row[Any]) -> list[Wakeup]:
    error = ErrorInfo.read(over.error)
    if over.status == "completed":
        return progress.start_scoring(conn, run_id, revision=over.revision, window=over.window)
    if error is not None:
        progress.fail_run(conn, run_id, error)
    else:
        progress.stop_run(conn, run_id, "The trajectory that the run needs was cancelled.")
    return []


def _finish_checkpoint(conn: Connection, now: Row[Any], kept: Row[Any]) -> list[Wakeup]:
    """All rows are evaluated at a checkpoint, so its weights have been read."""
    mean = kept.nll / kept.num_tokens if kept.num_tokens else None
    data = {"position": kept.position, "step": kept.step, "epoch": kept.epoch, "mean_loss": mean}
    told = f"{_name(kept)} is evaluated" + ("." if mean is None else f": mean loss={mean:.4f}.")
    done = trajectory.c.checkpoints_done + 1
    tell(conn, now.id, [("trajectory.evaluated", told, data)], checkpoints_done=done)
    wakeups = complete(conn, now.id)
    if now.keep_weights or kept.folder is None or _training_of(conn, now.id) is None:
        return wakeups
    weights = checkpoint_name(now.id, kept.position)
    purge = units.enqueue(conn, kind="purge", subject=weights, trajectory_id=now.id)
    return [*wakeups, *purge]


def _clear(conn: Connection, trajectory_id: str) -> list[Wakeup]:
    """Nothing is evaluated any more, its files go away, and the runs that wait are told."""
    mine = (work.c.trajectory_id == trajectory_id) & (work.c.kind != "purge")
    units.cancel_queued(conn, mine)
    settled = settle_runs(conn, trajectory_id)
    purge = units.enqueue(conn, kind="purge", subject=trajectory_id, trajectory_id=trajectory_id)
    return [*settled, *purge]


def _load(conn: Connection, trajectory_id: str, *, lock: bool = False) -> Row[Any]:
    statement = select(trajectory).where(trajectory.c.id == trajectory_id)
    return conn.execute(statement.with_for_update(key_share=True) if lock else statement).one()


def _training_of(conn: Connection, trajectory_id: str) -> str | None:
    return conn.scalar(select(fine_tune.c.id).where(fine_tune.c.trajectory_id == trajectory_id))


def _folder_of(conn: Connection, trajectory_id: str, checkpoint: Checkpoint) -> str | None:
    table = trajectory_checkpoint
    of_step = (table.c.trajectory_id == trajectory_id) & (table.c.step == checkpoint.step)
    return conn.scalar(select(table.c.folder).where(of_step))


def _name(checkpoint: Checkpoint | Row[Any]) -> str:
    if checkpoint.step == 0:
        return "The model before training"
    end = "" if checkpoint.epoch is None else f", the end of epoch {checkpoint.epoch},"
    return f"The checkpoint of step {checkpoint.step}{end}"


def _times(to: TrajectoryStatus) -> dict[str, Any]:
    if to in ACTIVE:
        return {"started_at": func.coalesce(trajectory.c.started_at, clock())}
    return {"finished_at": clock()}
