"""Which runs use which trajectory: a run that begins finds or makes the one that it needs, one that ends lets it go.

Runs on one dataset share a trajectory if they agree in all that decides its losses: the fingerprint of their options,
the model files they are bound to, and the user's own checkpoints if there are any. One that failed, was cancelled or
deleted is not shared: the next run begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, select, update
from sqlalchemy.dialects.postgresql import insert

from winnow.errors import Conflict, InvalidOption
from winnow.messages import Wakeup
from winnow.spec import RunSpec, check_clusters, fingerprint
from winnow.store import progress, trajectory_progress, units
from winnow.store.clock import clock
from winnow.store.events import add_event, insert_event
from winnow.store.fine_tunes import train_trajectory
from winnow.store.ids import new_id
from winnow.store.tables import dataset, fine_tune, run, trajectory, trajectory_checkpoint
from winnow.store.trajectory_progress import STOPPED, add_checkpoint
from winnow.store.values import ErrorInfo
from winnow.training.spec import FineTuneSpec
from winnow.trajectory import BEFORE_TRAINING, Checkpoint

OwnCheckpoint = tuple[Checkpoint, str]
"""A checkpoint that the user made, and the local folder of its weights."""


def start_run(conn: Connection, run_id: str) -> list[Wakeup]:
    """Let a run whose dataset is ready begin: with scoring, or with the trajectory that it needs.

    It fails if more clusters are asked for than can be found among so many rows, before anything is computed for it.

    Raises:
        Conflict: it asks for weights that the trajectory of its options has no more.
    """
    row = _with_dataset(conn, run_id)
    spec = RunSpec.read(row.spec)
    try:
        check_clusters(spec, row.rows_read)
    except InvalidOption as refused:
        error = ErrorInfo(code=refused.code, message=refused.message, param=refused.param)
        progress.fail_run(conn, run_id, error)
        return []
    if spec.trajectory is None or row.dry_run or row.rows_usable == 0:
        return progress.start_scoring(conn, run_id)
    needed, wakeups = _find_or_create(conn, row, spec)
    if needed.status == "completed":
        bound = {"revision": needed.revision, "window": needed.window}
        return progress.start_scoring(conn, run_id, trajectory_id=needed.id, **bound)
    told = f"Trajectory {needed.id} comes first: the losses of all rows while the proxy learns."
    sizes = {"rows": row.rows_read, "blocks": row.num_blocks}
    progress.start_training(conn, run_id, told, trajectory_id=needed.id, **sizes)
    return wakeups


def stop_run(conn: Connection, run_id: str, message: str) -> list[Wakeup]:
    """Cancel a run, and its trajectory if no other run needs that."""
    used = conn.scalar(select(run.c.trajectory_id).where(run.c.id == run_id))
    if used is not None:
        trajectory_progress.lock(conn, used)
    if not progress.stop_run(conn, run_id, message) or used is None:
        return []
    return trajectory_progress.cancel_unused(conn, used)


def replace_trajectory(conn: Connection, trajectory_id: str, *, attempts_left: int) -> list[Wakeup]:
    """Put another trajectory in the place of one whose training begins from its first step again.

    What was kept of the first training and what the second will keep are two fine-tunes, however alike: rows would be
    scored by differences between them. So the runs that wait get a trajectory with checkpoints, units, files and names
    of its own, whose training may be tried `attempts_left` times, and the old one ends as one that nobody needs.
    """
    trajectory_progress.lock(conn, trajectory_id)
    waiting = (run.c.trajectory_id == trajectory_id) & (run.c.status == "training")
    ids = conn.scalars(
        select(run.c.id).where(waiting).order_by(run.c.id).with_for_update(key_share=True)
    ).all()
    conn.execute(update(run).where(run.c.id.in_(ids)).values(trajectory_id=None))
    told = "Its training had to begin again, and what was kept of it is of no use to another one."
    wakeups = trajectory_progress.cancel(conn, trajectory_id, told)
    for run_id in ids:
        row = _with_dataset(conn, run_id)
        needed, begun = _find_or_create(conn, row, RunSpec.read(row.spec))
        wakeups += begun
        conn.execute(update(run).where(run.c.id == run_id).values(trajectory_id=needed.id))
        conn.execute(
            update(fine_tune)
            .where(fine_tune.c.trajectory_id == needed.id)
            .values(max_attempts=attempts_left)
        )
        add_event(
            conn,
            run_id,
            "run.retry",
            f"Training begins again: trajectory {needed.id} takes the place of {trajectory_id}.",
            {"trajectory": needed.id},
        )
    return wakeups


def delete_trajectories(conn: Connection, dataset_id: str) -> list[Wakeup]:
    """Hide the trajectories of a dataset that is deleted, and end those that are worked on."""
    wakeups: list[Wakeup] = []
    of_it = select(trajectory.c.id).where(trajectory.c.dataset_id == dataset_id)
    for trajectory_id in conn.scalars(of_it.order_by(trajectory.c.id)).all():
        wakeups += trajectory_progress.cancel(conn, trajectory_id, "The dataset was deleted.")
        mine = trajectory.c.id == trajectory_id
        conn.execute(update(trajectory).where(mine).values(deleted_at=clock()))
    return wakeups


def stored_checkpoints(own: Sequence[OwnCheckpoint]) -> list[dict[str, Any]]:
    """The user's own checkpoints as they are kept with the run until its trajectory is made.

    Raises:
        InvalidOption: they are none, or not in the order of their steps.
    """
    steps = [0, *(one.step for one, _ in own)]
    if not own or steps != sorted(set(steps)):
        raise InvalidOption(
            "checkpoints= must lead to at least one checkpoint, and each must have a step of its own, above 0.",
            param="checkpoints",
        )
    return [
        {"step": one.step, "epoch": one.epoch, "point": one.point, "folder": folder}
        for one, folder in own
    ]


def _with_dataset(conn: Connection, run_id: str) -> Row[Any]:
    return conn.execute(
        select(run, dataset.c.rows_read, dataset.c.rows_usable, dataset.c.num_blocks)
        .join(dataset, dataset.c.id == run.c.dataset_id)
        .where(run.c.id == run_id)
    ).one()


def _find_or_create(
    conn: Connection, row: Row[Any], spec: RunSpec
) -> tuple[Row[Any], list[Wakeup]]:
    """The trajectory of a run, locked; it is made with what sets it going."""
    key = _key(row, spec)
    made = conn.execute(
        insert(trajectory)
        .values(
            id=new_id("traj"),
            owner=row.owner,
            dataset_id=row.dataset_id,
            fingerprint=key,
            **_columns(row, spec),
        )
        .on_conflict_do_nothing()
        .returning(trajectory)
    ).one_or_none()
    if made is not None:
        return made, _begin(conn, made, row, spec)
    found = conn.execute(_alive(row, key).with_for_update(key_share=True)).one_or_none()
    if found is None:  # it ended between the two statements
        return _find_or_create(conn, row, spec)
    if spec.trajectory is not None and spec.trajectory.keep_weights:
        _keep_weights(conn, found)
    return found, []


def _keep_weights(conn: Connection, found: Row[Any]) -> None:
    """From now on weights stay; refused if some are gone, or about to be, since nobody can bring them back."""
    if found.keep_weights:
        return
    table = trajectory_checkpoint
    read = exists().where(
        table.c.trajectory_id == found.id, table.c.step > 0, table.c.blocks_done == found.blocks
    )
    if conn.scalar(select(read)):
        raise Conflict(
            f"Trajectory {found.id} has these options already, and weights that were read are removed. Leave "
            f"keep_weights away to use it as it is, or send DELETE /trajectories/{found.id} first to train again.",
            param="keep_weights",
        )
    mine = trajectory.c.id == found.id
    conn.execute(update(trajectory).where(mine).values(keep_weights=True))


def _begin(conn: Connection, made: Row[Any], row: Row[Any], spec: RunSpec) -> list[Wakeup]:
    """Let a new trajectory's model be evaluated as it is before training, and its training or its checkpoints begin."""
    accepted = {"status": made.status}
    told = f"The trajectory was begun for run {row.id}."
    insert_event(conn, made.id, 1, f"trajectory.{made.status}", told, data=accepted)
    queue = progress.offer_of(spec).queue
    for checkpoint, folder in [(BEFORE_TRAINING, None), *_own(row)]:
        add_checkpoint(conn, made.id, checkpoint, folder=folder, queue=queue)
    evaluation = units.publish_evaluation(conn, made.id)
    if row.checkpoints is not None:
        return evaluation
    training = train_trajectory(
        conn,
        made.id,
        owner=row.owner,
        spec=FineTuneSpec.of_trajectory(spec),
        dataset_id=row.dataset_id,
        max_attempts=row.max_attempts,
    )
    return [*training, *evaluation]


def _columns(row: Row[Any], spec: RunSpec) -> dict[str, Any]:
    """What a trajectory has of its first run."""
    same = ("spec", "revision", "blocks_per_unit", "units_in_flight", "max_attempts")
    values = {name: getattr(row, name) for name in same}
    values |= {"rows": row.rows_read, "blocks": row.num_blocks, "event_seq": 1}
    values["keep_weights"] = spec.trajectory is not None and spec.trajectory.keep_weights
    if row.checkpoints is None:
        return values
    own = {"num_checkpoints": 1 + len(row.checkpoints), "started_at": clock()}
    return values | {"status": "evaluating"} | own


def _own(row: Row[Any]) -> list[OwnCheckpoint]:
    stored = row.checkpoints or []
    return [
        (
            Checkpoint(position=position, step=one["step"], epoch=one["epoch"], point=one["point"]),
            one["folder"],
        )
        for position, one in enumerate(stored, start=1)
    ]


def _key(row: Row[Any], spec: RunSpec) -> str:
    agreed = [fingerprint(spec), row.revision, row.checkpoints]
    return sha256(json.dumps(agreed, sort_keys=True).encode()).hexdigest()


def _alive(row: Row[Any], key: str) -> Select[Any]:
    return select(trajectory).where(
        trajectory.c.owner == row.owner,
        trajectory.c.dataset_id == row.dataset_id,
        trajectory.c.fingerprint == key,
        trajectory.c.status.not_in(STOPPED),
        trajectory.c.deleted_at.is_(None),
    )
