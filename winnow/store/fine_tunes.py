"""Fine-tuning jobs of an owner, from the request to the model: what the gateway asks of them.

What a worker writes about one stands in `winnow.store.training`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, tuple_

from winnow.errors import Conflict, NotFound
from winnow.messages import QUEUE_IO, QUEUE_TRAIN, Wakeup
from winnow.settings import Settings
from winnow.store import fine_tune_progress as progress
from winnow.store.clock import unix
from winnow.store.events import insert_event
from winnow.store.files import get_file
from winnow.store.fine_tune_progress import ACTIVE, FineTuneStatus
from winnow.store.ids import new_id
from winnow.store.owned import check_fine_tune
from winnow.store.tables import fine_tune, fine_tune_checkpoint
from winnow.store.values import ErrorInfo, Page, page_of, storable
from winnow.store.workers_registry import live_workers
from winnow.training.spec import FineTuneSpec

__all__ = [
    "Checkpoint",
    "FineTune",
    "FineTuneStatus",
    "cancel_fine_tune",
    "create_fine_tune",
    "find_model",
    "get_fine_tune",
    "list_checkpoints",
    "list_fine_tunes",
    "list_models",
    "load_fine_tune",
    "load_model",
    "pause_fine_tune",
    "resume_fine_tune",
    "train_trajectory",
    "waits_for",
]

FILE_PREFIX = "file-"
DATASET_PREFIX = "dataset:"
"""Before the id of a dataset all of whose rows are trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTune:
    """A fine-tuning job of one owner. Times are unix seconds.

    `training_file` is a file's id, a `subset:` reference, or of the training of a trajectory `dataset:` and an id; that
    one has a `trajectory_id`, and only workers see it. `hyperparameters` are those of training with what `"auto"`
    came to, empty until it begins. `result` is the blob folder of the model's files; the first of `result_files` is all
    of them in one archive.
    """

    id: str
    owner: str
    trajectory_id: str | None
    spec: FineTuneSpec
    training_file: str
    validation_file: str | None
    metadata: dict[str, str]
    webhook_url: str | None
    status: FineTuneStatus
    rows: int | None
    provenance: dict[str, Any]
    step: int
    total_steps: int | None
    trained_tokens: int
    hyperparameters: dict[str, Any]
    estimated_finish: float | None
    fine_tuned_model: str | None
    result: str | None
    result_files: tuple[str, ...]
    metrics: dict[str, Any] | None
    error: ErrorInfo | None
    created_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def active(self) -> bool:
        """Whether the job may still change; a paused one may."""
        return self.status in ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a job could go on; `metrics` are train_loss and, if there is a validation file, valid_loss."""

    id: str
    fine_tune_id: str
    step: int
    metrics: dict[str, float]
    created_at: float


def create_fine_tune(  # one parameter an option
    conn: Connection,
    *,
    owner: str,
    spec: FineTuneSpec,
    training_file: str,
    validation_file: str | None = None,
    metadata: Mapping[str, str] | None = None,
    webhook_url: str | None = None,
    settings: Settings,
) -> tuple[FineTune, list[Wakeup]]:
    """Accept a job; its files are read by a worker, which alone finds out whether they hold what can be trained on.

    Raises:
        NotFound: a file that is named is not one of the owner's; `param` says which.
    """
    named = {"training_file": training_file, "validation_file": validation_file}
    for param, name in named.items():
        if name is not None and name.startswith(FILE_PREFIX):
            _check_file(conn, owner, name, param)
    told = {storable(name): storable(value) for name, value in (metadata or {}).items()}
    attempts = settings.max_attempts
    fine_tune_id = _insert(
        conn,
        owner,
        spec,
        metadata=told,
        webhook_url=webhook_url,
        max_attempts=attempts,
        **named,
    )
    wakeups = progress.start_validating(conn, fine_tune_id)
    return load_fine_tune(conn, fine_tune_id), wakeups


def train_trajectory(
    conn: Connection,
    trajectory_id: str,
    *,
    owner: str,
    spec: FineTuneSpec,
    dataset_id: str,
    max_attempts: int,
) -> list[Wakeup]:
    """Make the job that trains a trajectory on all rows of its dataset. It is nobody's to list, pause or cancel."""
    rows = f"{DATASET_PREFIX}{dataset_id}"
    whose = {"trajectory_id": trajectory_id, "training_file": rows}
    fine_tune_id = _insert(conn, owner, spec, max_attempts=max_attempts, **whose)
    return progress.start_validating(conn, fine_tune_id)


def get_fine_tune(conn: Connection, *, owner: str, fine_tune_id: str) -> FineTune:
    """A job of the owner.

    Raises:
        NotFound: the owner has none with this id.
    """
    return _fine_tune(_owned(conn, owner, fine_tune_id))


def load_fine_tune(conn: Connection, fine_tune_id: str) -> FineTune:
    """A job by its id alone, for workers."""
    return _fine_tune(conn.execute(select(fine_tune).where(fine_tune.c.id == fine_tune_id)).one())


def list_fine_tunes(  # one parameter a filter
    conn: Connection,
    *,
    owner: str,
    after: str | None = None,
    limit: int = 20,
    metadata: Mapping[str, str] | None = None,
) -> Page[FineTune]:
    """The owner's jobs, the newest first, beginning after the one with the id `after`.

    `metadata` keeps those that have all of these entries.
    """
    statement = _visible(owner)
    if metadata:
        statement = statement.where(fine_tune.c.metadata.contains(dict(metadata)))
    if after is not None:
        last = _owned(conn, owner, after)
        place = tuple_(fine_tune.c.created_at, fine_tune.c.id)
        statement = statement.where(place < tuple_(last.created_at, last.id))
    statement = statement.order_by(fine_tune.c.created_at.desc(), fine_tune.c.id.desc())
    rows = conn.execute(statement.limit(limit + 1))
    return page_of([_fine_tune(row) for row in rows], limit)


def cancel_fine_tune(
    conn: Connection, *, owner: str, fine_tune_id: str
) -> tuple[FineTune, list[Wakeup]]:
    """Cancel a job, a paused one too; doing so twice changes nothing.

    Raises:
        NotFound: the owner has no such job.
        Conflict: it has already succeeded or failed.
    """
    _owned(conn, owner, fine_tune_id)
    wakeups = progress.cancel(conn, fine_tune_id)
    return _unless_over(conn, fine_tune_id, but="cancelled"), wakeups


def pause_fine_tune(
    conn: Connection, *, owner: str, fine_tune_id: str
) -> tuple[FineTune, list[Wakeup]]:
    """Let a job rest: its worker saves a checkpoint and is free for others. Doing so twice changes nothing.

    Raises:
        NotFound: the owner has no such job.
        Conflict: it is over.
    """
    _owned(conn, owner, fine_tune_id)
    progress.pause(conn, fine_tune_id)
    return _unless_over(conn, fine_tune_id), []


def resume_fine_tune(
    conn: Connection, *, owner: str, fine_tune_id: str
) -> tuple[FineTune, list[Wakeup]]:
    """Let a paused job go on from its newest checkpoint; one that is not paused is left as it is.

    Raises:
        NotFound: the owner has no such job.
        Conflict: it is over.
    """
    _owned(conn, owner, fine_tune_id)
    wakeups = progress.resume(conn, fine_tune_id)
    return _unless_over(conn, fine_tune_id), wakeups


def list_checkpoints(
    conn: Connection, *, owner: str, fine_tune_id: str, after: str | None = None, limit: int = 10
) -> Page[Checkpoint]:
    """The checkpoints of a job, the newest first, those whose files are gone too, beginning after the one `after`.

    Raises:
        NotFound: the owner has no such job, or the job no checkpoint `after`.
    """
    check_fine_tune(conn, owner=owner, fine_tune_id=fine_tune_id)
    of_it = select(fine_tune_checkpoint).where(fine_tune_checkpoint.c.fine_tune_id == fine_tune_id)
    statement = of_it
    if after is not None:
        last = conn.execute(of_it.where(fine_tune_checkpoint.c.id == after)).one_or_none()
        if last is None:
            raise NotFound(f"There is no checkpoint {after!r}.")
        statement = statement.where(fine_tune_checkpoint.c.step < last.step)
    rows = conn.execute(statement.order_by(fine_tune_checkpoint.c.step.desc()).limit(limit + 1))
    return page_of([_checkpoint(row) for row in rows], limit)


def find_model(conn: Connection, *, owner: str, name: str) -> FineTune:
    """The job of the owner that made the model `name`.

    Raises:
        NotFound: no job of the owner made it.
    """
    return _maker(conn, _visible(owner).where(fine_tune.c.fine_tuned_model == name), name)


def list_models(conn: Connection, *, owner: str) -> list[FineTune]:
    """The jobs of the owner that made a model, the newest first."""
    made = _visible(owner).where(fine_tune.c.fine_tuned_model.is_not(None))
    newest_first = made.order_by(fine_tune.c.created_at.desc(), fine_tune.c.id.desc())
    return [_fine_tune(row) for row in conn.execute(newest_first)]


def load_model(conn: Connection, name: str) -> FineTune:
    """The job that made the model `name`, for workers: whose it is was checked when the work was made.

    Raises:
        NotFound: no job made it.
    """
    return _maker(conn, select(fine_tune).where(fine_tune.c.fine_tuned_model == name), name)


def waits_for(conn: Connection, job: FineTune) -> str | None:
    """What a job that nobody can take waits for; None if a worker is there, or nothing is to be done."""
    queue = {"validating_files": QUEUE_IO, "queued": QUEUE_TRAIN, "running": QUEUE_TRAIN}.get(
        job.status
    )
    if queue is None or any(queue in worker.queues for worker in live_workers(conn)):
        return None
    return f"No running worker takes {queue} work. Start one with `winnow worker --queues {queue}`."


def _check_file(conn: Connection, owner: str, file_id: str, param: str) -> None:
    try:
        get_file(conn, owner=owner, file_id=file_id)
    except NotFound as error:
        raise NotFound(error.message, param=param) from error


def _maker(conn: Connection, made: Select[Any], name: str) -> FineTune:
    row = conn.execute(made).one_or_none()
    if row is None:
        raise NotFound(f"There is no fine-tuned model {name!r}.", param="model")
    return _fine_tune(row)


def _insert(conn: Connection, owner: str, spec: FineTuneSpec, **values: Any) -> str:
    fine_tune_id = new_id("ftjob")
    conn.execute(
        insert(fine_tune).values(
            id=fine_tune_id, owner=owner, spec=spec.as_dict(), event_seq=1, **values
        )
    )
    accepted = {"status": "validating_files"}
    message = "The job was accepted; its files are validated."
    insert_event(conn, fine_tune_id, 1, "fine_tune.validating_files", message, data=accepted)
    return fine_tune_id


def _visible(owner: str) -> Select[Any]:
    """The training of a trajectory is part of that, and no job of its own."""
    mine = (fine_tune.c.owner == owner) & fine_tune.c.trajectory_id.is_(None)
    return select(fine_tune).where(mine)


def _owned(conn: Connection, owner: str, fine_tune_id: str) -> Row[Any]:
    row = conn.execute(_visible(owner).where(fine_tune.c.id == fine_tune_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no fine-tuning job {fine_tune_id!r}.")
    return row


def _unless_over(
    conn: Connection, fine_tune_id: str, *, but: FineTuneStatus | None = None
) -> FineTune:
    now = load_fine_tune(conn, fine_tune_id)
    if not now.active and now.status != but:
        raise Conflict(f"The job has already ended: it {_HOW[now.status]}.")
    return now


_HOW = {"succeeded": "succeeded", "failed": "failed", "cancelled": "was cancelled"}


def _fine_tune(row: Row[Any]) -> FineTune:
    return FineTune(
        id=row.id,
        owner=row.owner,
        trajectory_id=row.trajectory_id,
        spec=FineTuneSpec.make(**row.spec),
        training_file=row.training_file,
        validation_file=row.validation_file,
        metadata=row.metadata,
        webhook_url=row.webhook_url,
        status=row.status,
        rows=row.rows,
        provenance=row.provenance,
        step=row.step,
        total_steps=row.total_steps,
        trained_tokens=row.trained_tokens,
        hyperparameters=row.hyperparameters,
        estimated_finish=unix(row.estimated_finish),
        fine_tuned_model=row.fine_tuned_model,
        result=row.result,
        result_files=tuple(row.result_files),
        metrics=row.metrics,
        error=ErrorInfo.read(row.error),
        created_at=row.created_at.timestamp(),
        started_at=unix(row.started_at),
        finished_at=unix(row.finished_at),
    )


def _checkpoint(row: Row[Any]) -> Checkpoint:
    return Checkpoint(
        id=row.id,
        fine_tune_id=row.fine_tune_id,
        step=row.step,
        metrics=row.metrics,
        created_at=row.created_at.timestamp(),
    )
