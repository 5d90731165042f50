"""Trajectories of an owner: what the gateway and workers read of them, their cancellation and deletion.

A run makes one (`winnow.store.trajectory_use`). What changes its status stands in `winnow.store.trajectory_progress`,
what workers write about it in `winnow.store.evaluation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, select, tuple_, update

from winnow.errors import Conflict, NotFound
from winnow.messages import QUEUE_IO, QUEUE_TRAIN, Offer, Wakeup
from winnow.spec import RunSpec
from winnow.store import progress as run_progress
from winnow.store import trajectory_progress as progress
from winnow.store import units
from winnow.store.clock import clock, unix
from winnow.store.fine_tune_progress import FineTuneStatus
from winnow.store.owned import check_trajectory
from winnow.store.tables import fine_tune, run, trajectory, trajectory_checkpoint, work
from winnow.store.trajectory_progress import ACTIVE, TrajectoryStatus
from winnow.store.values import ErrorInfo, Page, page_of
from winnow.store.workers_registry import live_workers
from winnow.training.names import base_model

__all__ = [
    "KeptCheckpoint",
    "Training",
    "Trajectory",
    "TrajectoryStatus",
    "cancel_trajectory",
    "delete_trajectory",
    "get_trajectory",
    "list_trajectories",
    "list_trajectory_checkpoints",
    "load_checkpoints",
    "load_trajectory",
    "waits_for",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The fine-tune of a trajectory: how far it is.

    `total_steps` and `hyperparameters` (with what `"auto"` came to) are unknown until it begins. `estimated_finish` is
    in unix seconds.
    """

    fine_tune_id: str
    status: FineTuneStatus
    step: int
    total_steps: int | None
    trained_tokens: int
    hyperparameters: dict[str, Any]
    estimated_finish: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """A trajectory of one owner: the losses of all rows of a dataset at checkpoints of a fine-tune. Unix seconds.

    `spec` holds the options of the first run that needed it; those of `spec.trajectory`, the model, engine, dtype and
    token budget are the trajectory's. `training` None: its checkpoints are the user's own. `num_checkpoints` counts
    the model before training too, and is None until training knows its steps. `rows_done` counts rows evaluated,
    over all checkpoints; it is live.
    """

    id: str
    owner: str
    dataset_id: str
    spec: RunSpec
    revision: str | None
    window: int | None
    status: TrajectoryStatus
    rows: int
    blocks: int
    num_checkpoints: int | None
    checkpoints_done: int
    rows_done: int
    keep_weights: bool
    training: Training | None
    error: ErrorInfo | None
    created_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def offer(self) -> Offer:
        """What a worker must offer to evaluate its checkpoints."""
        model = base_model(self.spec.model)
        return Offer(engine=self.spec.engine, model=model, dtype=self.spec.dtype)

    @property
    def active(self) -> bool:
        """Whether it may still change."""
        return self.status in ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCheckpoint:
    """A checkpoint that is evaluated; position 0 is the model before training.

    `folder` holds its weights: a blob folder, or a local one if it is the user's own; None at position 0, and where
    they were removed. `mean_loss` is in nats per token over the rows that are evaluated, None before the first.
    """

    position: int
    step: int
    epoch: int | None
    point: bool
    folder: str | None
    blocks_done: int
    mean_loss: float | None
    created_at: float


def get_trajectory(conn: Connection, *, owner: str, trajectory_id: str) -> Trajectory:
    """A trajectory of the owner.

    Raises:
        NotFound: the owner has none with this id.
    """
    row = conn.execute(_query(owner).where(trajectory.c.id == trajectory_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no trajectory {trajectory_id!r}.")
    return _trajectory(row)


def load_trajectory(conn: Connection, trajectory_id: str) -> Trajectory:
    """A trajectory by its id alone, for workers; one that is being deleted is still there."""
    return _trajectory(conn.execute(_COLUMNS.where(trajectory.c.id == trajectory_id)).one())


def list_trajectories(  # one parameter a filter
    conn: Connection,
    *,
    owner: str,
    after: str | None = None,
    limit: int = 20,
    dataset_id: str | None = None,
    status: TrajectoryStatus | None = None,
) -> Page[Trajectory]:
    """The owner's trajectories, the newest first, beginning after the one with the id `after`.

    Raises:
        NotFound: the owner has no trajectory `after`.
    """
    statement = _query(owner)
    if dataset_id is not None:
        statement = statement.where(trajectory.c.dataset_id == dataset_id)
    if status is not None:
        statement = statement.where(trajectory.c.status == status)
    if after is not None:
        last = conn.execute(_query(owner).where(trajectory.c.id == after)).one_or_none()
        if last is None:
            raise NotFound(f"There is no trajectory {after!r}.")
        place = tuple_(trajectory.c.created_at, trajectory.c.id)
        statement = statement.where(place < tuple_(last.created_at, last.id))
    statement = statement.order_by(trajectory.c.created_at.desc(), trajectory.c.id.desc())
    return page_of([_trajectory(row) for row in conn.execute(statement.limit(limit + 1))], limit)


def list_trajectory_checkpoints(
    conn: Connection, *, owner: str, trajectory_id: str
) -> list[KeptCheckpoint]:
    """The checkpoints of a trajectory of the owner that are there so far, in the order of their steps.

    Raises:
        NotFound: the owner has no such trajectory.
    """
    check_trajectory(conn, owner=owner, trajectory_id=trajectory_id)
    return load_checkpoints(conn, trajectory_id)


def load_checkpoints(conn: Connection, trajectory_id: str) -> list[KeptCheckpoint]:
    """The checkpoints of a trajectory by its id alone, for workers, in the order of their steps."""
    of_it = trajectory_checkpoint.c.trajectory_id == trajectory_id
    in_order = select(trajectory_checkpoint).where(of_it).order_by(trajectory_checkpoint.c.position)
    return [_checkpoint(row) for row in conn.execute(in_order)]


def cancel_trajectory(
    conn: Connection, *, owner: str, trajectory_id: str
) -> tuple[Trajectory, list[Wakeup]]:
    """Cancel a trajectory and the runs that wait for it; doing so twice changes nothing.

    Raises:
        NotFound: the owner has no such trajectory.
        Conflict: it has already completed or failed.
    """
    check_trajectory(conn, owner=owner, trajectory_id=trajectory_id)
    wakeups = progress.cancel(conn, trajectory_id, "The trajectory was cancelled.")
    now = load_trajectory(conn, trajectory_id)
    if now.status != "cancelled":
        raise Conflict(f"The trajectory has already {now.status}; it can't be cancelled.")
    return now, wakeups


def delete_trajectory(conn: Connection, *, owner: str, trajectory_id: str) -> list[Wakeup]:
    """Hide a trajectory at once, and enqueue the removal of its losses and of the weights that were kept.

    Runs that have read it keep their scores, and the next run with its options begins another one.

    Raises:
        NotFound: the owner has no such trajectory.
        Conflict: runs that are not over use it.
    """
    check_trajectory(conn, owner=owner, trajectory_id=trajectory_id)
    # Whoever begins a run on it holds it as well, and is seen here afterwards.
    progress.lock(conn, trajectory_id)
    uses_it = (run.c.trajectory_id == trajectory_id) & run.c.status.in_(run_progress.ACTIVE)
    users = conn.scalars(select(run.c.id).where(uses_it).order_by(run.c.id)).all()
    if users:
        raise Conflict(
            f"The trajectory is used by {', '.join(users[:_SHOWN_USERS])}{' ...' * (len(users) > _SHOWN_USERS)}. Wait "
            "until they are over, or cancel them first."
        )
    wakeups = progress.cancel(conn, trajectory_id, "The trajectory was deleted.")
    mine = trajectory.c.id == trajectory_id
    conn.execute(update(trajectory).where(mine).values(deleted_at=clock()))
    # Of one that failed or was cancelled the files are gone already; now its rows go too.
    over = (work.c.subject == trajectory_id) & (work.c.kind == "purge") & (work.c.state == "done")
    conn.execute(delete(work).where(over))
    purge = units.enqueue(conn, kind="purge", subject=trajectory_id, trajectory_id=trajectory_id)
    return [*wakeups, *purge]


def waits_for(conn: Connection, of: Trajectory) -> str | None:
    """What a trajectory that nobody can take waits for; None if a worker is there, or it is over."""
    if not of.active:
        return None
    listened = {queue for worker in live_workers(conn) for queue in worker.queues}
    queue = None if of.training is None else _TRAINING_QUEUES.get(of.training.status)
    if queue is not None and queue not in listened:
        return f"No running worker takes {queue} work. Start one with `winnow worker --queues {queue}`."
    if of.offer.queue in listened:
        return None
    return (
        f"No running worker offers {of.offer.model} on {of.offer.engine} in {of.offer.dtype}, which evaluates the "
        f"checkpoints. Start one with `winnow worker --queues score --engine {of.offer.engine}`, with "
        f"{of.offer.model} in WINNOW_MODELS."
    )


_SHOWN_USERS = 3
"""Runs that a refusal names."""

_TRAINING_QUEUES: dict[FineTuneStatus, str] = {
    "validating_files": QUEUE_IO,
    "queued": QUEUE_TRAIN,
    "running": QUEUE_TRAIN,
}

_ROWS_IN_WORK = (
    select(func.coalesce(func.sum(work.c.rows_done), 0))
    .where(
        work.c.trajectory_id == trajectory.c.id,
        work.c.kind == "evaluate",
        work.c.state == "running",
    )
    .scalar_subquery()
)
_TRAINING = ("id", "status", "step", "total_steps", "trained_tokens", "hyperparameters")
_COLUMNS: Select[Any] = select(
    trajectory,
    (trajectory.c.rows_done + _ROWS_IN_WORK).label("rows_live"),
    *(fine_tune.c[name].label(f"training_{name}") for name in _TRAINING),
    fine_tune.c.estimated_finish,
).outerjoin(fine_tune, fine_tune.c.trajectory_id == trajectory.c.id)


def _query(owner: str) -> Select[Any]:
    return _COLUMNS.where(trajectory.c.owner == owner, trajectory.c.deleted_at.is_(None))


def _trajectory(row: Row[Any]) -> Trajectory:
    return Trajectory(
        id=row.id,
        owner=row.owner,
        dataset_id=row.dataset_id,
        spec=RunSpec.read(row.spec),
        revision=row.revision,
        window=row.window,
        status=row.status,
        rows=row.rows,
        blocks=row.blocks,
        num_checkpoints=row.num_checkpoints,
        checkpoints_done=row.checkpoints_done,
        rows_done=int(row.rows_live),
        keep_weights=row.keep_weights,
        training=None if row.training_id is None else _training(row),
        error=ErrorInfo.read(row.error),
        created_at=row.created_at.timestamp(),
        started_at=unix(row.started_at),
        finished_at=unix(row.finished_at),
    )


def _training(row: Row[Any]) -> Training:
    return Training(
        fine_tune_id=row.training_id,
        status=row.training_status,
        step=row.training_step,
        total_steps=row.training_total_steps,
        trained_tokens=row.training_trained_tokens,
        hyperparameters=row.training_hyperparameters,
        estimated_finish=unix(row.estimated_finish),
    )


def _checkpoint(row: Row[Any]) -> KeptCheckpoint:
    return KeptCheckpoint(
        position=row.position,
        step=row.step,
        epoch=row.epoch,
        point=row.point,
        folder=row.folder,
        blocks_done=row.blocks_done,
        mean_loss=row.nll / row.num_tokens if row.num_tokens else None,
        created_at=row.created_at.timestamp(),
    )
