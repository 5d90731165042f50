"""What workers write about a trajectory: the checkpoints that its training keeps, and their losses.

Every function here but `adopt_trajectory_revision` needs the lease of the unit. A worker that was too slow gets
`LeaseLost` and leaves no trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from winnow.errors import RevisionMismatch
from winnow.messages import Wakeup
from winnow.store import fine_tune_progress, trajectory_use
from winnow.store import trajectory_progress as progress
from winnow.store.clock import clock
from winnow.store.tables import fine_tune, trajectory
from winnow.store.work import Claim, close, hold
from winnow.trajectory import Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What a unit found: `rows` are all of its rows, `nll` (nats) and `num_tokens` sums over those that have a loss."""

    rows: int
    nll: float
    num_tokens: int


def record_kept(
    conn: Connection, claim: Claim, checkpoint: Checkpoint, folder: str
) -> tuple[bool, list[Wakeup]]:
    """Keep a checkpoint whose weights are in the blob folder `folder`, every one of them, and have it evaluated.

    `claim` is that of the training. False: the step is kept already in another folder, or the trajectory is over, and
    this folder is not needed.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    unit = hold(conn, claim)
    return progress.keep(conn, unit.trajectory_id, checkpoint, folder=folder)


def begin_anew(conn: Connection, claim: Claim) -> list[Wakeup]:
    """Training has nothing to go on from, and has kept checkpoints already: another trajectory takes its place.

    Attempts that were used up before this one stay so.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    row = close(conn, claim, "done", finished_at=clock())
    left = row.max_attempts - row.attempt + 1
    return trajectory_use.replace_trajectory(conn, row.trajectory_id, attempts_left=left)


def finish_trajectory_training(
    conn: Connection, claim: Claim, *, trained_tokens: int, metrics: Mapping[str, Any]
) -> list[Wakeup]:
    """Training is done and every checkpoint is kept: the rest is evaluation.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    row = close(conn, claim, "done", finished_at=clock())
    wakeups = fine_tune_progress.succeed(
        conn,
        claim.subject,
        trained_tokens=trained_tokens,
        metrics=dict(metrics),
        step=func.coalesce(fine_tune.c.total_steps, fine_tune.c.step),
    )
    return wakeups + progress.finish_training(conn, row.trajectory_id)


def finish_evaluate(conn: Connection, claim: Claim, found: Evaluated) -> list[Wakeup]:
    """The losses of a unit lie in the blob store: count it, and let the trajectory go on: more units, or its end.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    row = close(conn, claim, "done", rows_done=found.rows, finished_at=clock())
    return progress.count_evaluated(
        conn, row, rows=found.rows, nll=found.nll, num_tokens=found.num_tokens
    )


def adopt_trajectory_revision(
    conn: Connection, trajectory_id: str, revision: str, window: int
) -> None:
    """Bind a trajectory to the files that this worker has of the model before training, unless it is bound already.

    Raises:
        RevisionMismatch: the trajectory is bound to other files.
    """
    mine = trajectory.c.id == trajectory_id
    bound = conn.execute(select(trajectory.c.revision, trajectory.c.window).where(mine)).one()
    if bound == (revision, window):
        return
    adopted = conn.execute(
        update(trajectory)
        .where(mine, func.coalesce(trajectory.c.revision, revision) == revision)
        .values(revision=revision, window=func.coalesce(trajectory.c.window, window))
    )
    if adopted.rowcount == 0:
        raise RevisionMismatch(
            f"The trajectory was begun with model files of revision {bound.revision}; this worker has {revision}. "
            "Give every worker the same model files."
        )
