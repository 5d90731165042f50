"""What workers write about a fine-tune: its data, its steps and checkpoints, its result.

Every function here needs the lease of the unit. A worker that was too slow gets `LeaseLost` and leaves no trace, so of
two that train the same job only one is heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Integer, Row, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from winnow.messages import Wakeup
from winnow.store import fine_tune_progress as progress
from winnow.store import trajectory_progress
from winnow.store.clock import clock, seconds
from winnow.store.files import create_file, new_file_id
from winnow.store.fine_tune_progress import NewEvent
from winnow.store.ids import new_id
from winnow.store.tables import (
    event,
    fine_tune,
    fine_tune_checkpoint,
    trajectory_checkpoint,
    work,
)
from winnow.store.work import Claim, close, hold

RESULT_PURPOSE = "fine-tune-results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The last step of which each kind of event has told. After a crash steps are done again, and not told again."""

    step: int
    evaluated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCheckpoint:
    """A checkpoint whose files are in the blob folder `folder`, every one of them."""

    step: int
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsDone:
    """How far training is; `eta_s` is how long the rest will take, in seconds."""

    step: int
    total_steps: int
    trained_tokens: int
    eta_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """A file of the result, as it stands in the blob store."""

    filename: str
    size_bytes: int
    sha256: str
    blob: str


def finish_prepare(
    conn: Connection,
    claim: Claim,
    events: Sequence[NewEvent] = (),
    *,
    rows: int,
    provenance: Mapping[str, Any],
) -> list[Wakeup]:
    """The data of the job lies ready: let it be trained on. `events` are what its owner should know of the data.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    unit = close(conn, claim, "done", rows_done=rows, finished_at=clock())
    known = {"rows": rows, "provenance": dict(provenance)}
    wakeups = progress.finish_validating(conn, claim.subject, events, **known)
    if unit.trajectory_id is not None and events:
        trajectory_progress.tell(conn, unit.trajectory_id, events)
    return wakeups


def kept_checkpoints(conn: Connection, fine_tune_id: str) -> list[SavedCheckpoint]:
    """Where training may go on, the newest first."""
    kept = conn.execute(_kept(fine_tune_id))
    return [SavedCheckpoint(step=row.step, folder=row.folder) for row in kept]


def forget_checkpoint(conn: Connection, claim: Claim, saved: SavedCheckpoint) -> None:
    """The files of a checkpoint are gone: nobody should look for them again, and its step may be saved anew.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    hold(conn, claim)
    mine = fine_tune_checkpoint.c.folder == saved.folder
    conn.execute(update(fine_tune_checkpoint).where(mine).values(folder=None))


def is_recorded(conn: Connection, claim: Claim, folder: str) -> bool:
    """Whether a checkpoint of a training lies in the blob folder `folder`, which was written under `claim`.

    Every transaction that could still record it holds the unit, and is waited for; the lease is not needed. False is
    final once the lease is lost or its worker records nothing more.
    """
    conn.execute(select(work.c.id).where(work.c.id == claim.work_id).with_for_update())
    tables = (fine_tune_checkpoint, trajectory_checkpoint)
    found = (conn.scalar(select(exists().where(table.c.folder == folder))) for table in tables)
    return any(found)


def told_so_far(conn: Connection, fine_tune_id: str) -> Told:
    """Up to which step events have been recorded."""
    step = func.max(event.c.data["step"].astext.cast(Integer))
    steps: dict[str, int] = {
        type_: last
        for type_, last in conn.execute(
            select(event.c.type, step).where(event.c.subject == fine_tune_id).group_by(event.c.type)
        )
        if last is not None
    }
    return Told(step=steps.get("fine_tune.step", 0), evaluated=steps.get("fine_tune.eval", 0))


def record_plan(
    conn: Connection,
    claim: Claim,
    events: Sequence[NewEvent],
    *,
    total_steps: int,
    hyperparameters: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """Keep what training has settled before its first step, and what it began with.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    settled = {"hyperparameters": dict(hyperparameters), "provenance": dict(provenance)}
    unit = _record(conn, claim, events, total_steps=total_steps, **settled)
    if unit.trajectory_id is not None:
        trajectory_progress.plan(conn, unit.trajectory_id, total_steps=total_steps)


def record_steps(
    conn: Connection, claim: Claim, events: Sequence[NewEvent], done: StepsDone | None
) -> None:
    """Keep what happened in training; `done` None: how far it is has not changed.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    now = {} if done is None else _columns(done)
    _record(conn, claim, events, **now)


def record_checkpoint(
    conn: Connection,
    claim: Claim,
    saved: SavedCheckpoint,
    *,
    metrics: Mapping[str, float],
    keep: int,
) -> list[str]:
    """Keep a checkpoint whose files are uploaded; returns the blob folders of those that are too old to be kept.

    A new one is progress, so the attempts are counted from here: a job of days may outlive any number of workers.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    hold(conn, claim)
    table = fine_tune_checkpoint
    row = {"step": saved.step, "folder": saved.folder, "metrics": dict(metrics)}
    made = conn.scalar(
        insert(table)
        .values(id=new_id("ftckpt"), fine_tune_id=claim.subject, **row)
        .on_conflict_do_update(
            index_elements=["fine_tune_id", "step"],
            set_={"folder": saved.folder},
            # Its own folder: it is recorded already, by a transaction whose outcome nobody heard of.
            where=table.c.folder.is_(None) | (table.c.folder == saved.folder),
        )
        .returning(table.c.id)
    )
    if made is None:
        return [saved.folder]
    conn.execute(update(work).where(work.c.id == claim.work_id).values(attempt=1))
    data = {"step": saved.step, **metrics}
    told: NewEvent = ("fine_tune.checkpoint", f"Checkpoint of step {saved.step} saved.", data)
    _record(conn, claim, [told])
    old = [one.folder for one in conn.execute(_kept(claim.subject).offset(keep))]
    conn.execute(update(table).where(table.c.folder.in_(old)).values(folder=None))
    return old


def finish_train(
    conn: Connection,
    claim: Claim,
    *,
    name: str,
    folder: str,
    files: Sequence[ResultFile],
    trained_tokens: int,
    metrics: Mapping[str, Any],
) -> list[Wakeup]:
    """The result is uploaded: the job has succeeded, and its files are the owner's, in this order.

    A job that was paused or ended meanwhile keeps nothing of it; one that was resumed since has succeeded.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    close(conn, claim, "done", finished_at=clock())
    _go_on(conn, claim)
    ids = [new_file_id() for _ in files]
    wakeups = progress.succeed(
        conn,
        claim.subject,
        fine_tuned_model=name,
        result=folder,
        result_files=ids,
        trained_tokens=trained_tokens,
        metrics=dict(metrics),
        step=func.coalesce(fine_tune.c.total_steps, fine_tune.c.step),
    )
    if not wakeups:
        return []
    owner = conn.execute(
        select(fine_tune.c.owner).where(fine_tune.c.id == claim.subject)
    ).scalar_one()
    for file_id, one in zip(ids, files, strict=True):
        create_file(
            conn,
            owner=owner,
            file_id=file_id,
            filename=one.filename,
            size_bytes=one.size_bytes,
            purpose=RESULT_PURPOSE,
            sha256=one.sha256,
            blob=one.blob,
        )
    return wakeups


def _record(conn: Connection, claim: Claim, events: Sequence[NewEvent], **values: Any) -> Row[Any]:
    unit = hold(conn, claim)
    _go_on(conn, claim)
    progress.tell(conn, claim.subject, events, **values)
    if unit.trajectory_id is not None and events:
        trajectory_progress.tell(conn, unit.trajectory_id, events)
    return unit


def _go_on(conn: Connection, claim: Claim) -> None:
    """If it was paused and resumed before this worker heard of it, it goes on in the same hands."""
    progress.move(conn, claim.subject, "running", "Training goes on.")


def _kept(fine_tune_id: str) -> Any:
    table = fine_tune_checkpoint
    of_it = (table.c.fine_tune_id == fine_tune_id) & table.c.folder.is_not(None)
    return select(table.c.step, table.c.folder).where(of_it).order_by(table.c.step.desc())


def _columns(done: StepsDone) -> dict[str, Any]:
    return {
        "step": done.step,
        "total_steps": done.total_steps,
        "trained_tokens": done.trained_tokens,
        "estimated_finish": clock() + seconds(done.eta_s),
    }
