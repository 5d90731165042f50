"""Runs: one scoring of a dataset with one specification, from the request to its summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, Text, cast, func, insert, select, tuple_, update

from winnow.errors import Conflict, NotFound, RevisionMismatch
from winnow.estimate import Estimate
from winnow.messages import QUEUE_IO, Offer, Wakeup
from winnow.settings import Settings
from winnow.spec import Dtype, EngineName, Method, RunSpec, check_clusters
from winnow.store import progress, trajectories, units
from winnow.store.clock import clock, unix
from winnow.store.datasets import Dataset, keep_dataset, lock_dataset
from winnow.store.events import insert_event
from winnow.store.ids import new_id
from winnow.store.progress import ACTIVE, STOPPED, RunStatus
from winnow.store.tables import run, work
from winnow.store.trajectory_use import OwnCheckpoint, start_run, stop_run, stored_checkpoints
from winnow.store.values import ErrorInfo, Page, page_of, storable
from winnow.store.workers_registry import live_workers

__all__ = [
    "ErrorInfo",
    "Page",
    "Run",
    "RunStatus",
    "adopt_revision",
    "cancel_run",
    "create_run",
    "delete_run",
    "get_run",
    "list_runs",
    "load_run",
    "newest_run",
    "waits_for",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of one owner. Times are unix seconds.

    `rows_done` is live: rows of finished units and of those that are being worked on. `rows_cached` are those whose
    losses earlier runs had computed; `cache_snapshot` says which those are, None: the run uses no cache. `scoring_s` is
    how long scoring has taken so far, from the first unit's start; None before it. `trajectory_id` is whose losses the
    run reads; None before its dataset is ready, for methods that need none, and once that trajectory was deleted.
    `is_sample`: it was made on the side, by `POST /trust` or of tasks of Label Studio.
    """

    id: str
    owner: str
    name: str | None
    dataset_id: str
    spec: RunSpec
    trajectory_id: str | None
    revision: str | None
    window: int | None
    status: RunStatus
    rows: int | None
    blocks: int | None
    blocks_done: int
    rows_done: int
    rows_scored: int
    rows_rejected: int
    rows_cached: int
    cache_snapshot: str | None
    error: ErrorInfo | None
    warnings: tuple[str, ...]
    summary: dict[str, Any] | None
    dry_run: bool
    is_sample: bool
    estimate: Estimate | None
    webhook_url: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    scoring_s: float | None

    @property
    def method(self) -> Method:
        """How rows are scored."""
        return self.spec.method

    @property
    def engine(self) -> EngineName:
        """What computes the losses."""
        return self.spec.engine

    @property
    def model(self) -> str:
        """The proxy model, as it was named."""
        return self.spec.model

    @property
    def dtype(self) -> Dtype:
        """The number format of the computation."""
        return self.spec.dtype

    @property
    def offer(self) -> Offer:
        """What a worker must offer to score this run: of a fine-tuned model, its base."""
        return progress.offer_of(self.spec)

    @property
    def queue(self) -> str:
        """Where its scoring units go."""
        return progress.scoring_queue(self.spec)

    @property
    def active(self) -> bool:
        """Whether the run may still change."""
        return self.status in ACTIVE


def create_run(  # noqa: PLR0913 - one parameter an option
    conn: Connection,
    *,
    owner: str,
    dataset_id: str,
    spec: RunSpec,
    revision: str | None = None,
    name: str | None = None,
    dry_run: bool = False,
    is_sample: bool = False,
    checkpoints: Sequence[OwnCheckpoint] = (),
    webhook_url: str | None = None,
    settings: Settings,
) -> tuple[Run, list[Wakeup]]:
    """Start a run on a dataset of the owner; how it is cut into units is fixed now.

    Scoring begins at once if the dataset is ready, and after its ingest otherwise. On a dataset that failed the run
    fails with the same reason. A dry run ends with an estimate instead of scores. It uses no cache, nor does a run that
    needs a trajectory. `is_sample`: it scores a few rows on the side, and goes a month after its end. `checkpoints` are
    those of the folder `spec.trajectory.checkpoints`, if there is one, in the order of their steps.

    Raises:
        NotFound: the owner has no such dataset.
        InvalidOption: a folder of checkpoints is named, and has none that can be used; or more clusters are asked for
            than can be found among so many rows.
        Conflict: weights are to be kept, and the trajectory that the run would share has lost some of them.
    """
    data = lock_dataset(conn, owner=owner, dataset_id=dataset_id)
    check_clusters(spec, data.rows_read or 0)
    if not dry_run and not is_sample:
        keep_dataset(conn, dataset_id)
    spec = replace(spec, cache=spec.cache and not dry_run and spec.trajectory is None)
    named = spec.trajectory is not None and spec.trajectory.checkpoints is not None
    own = {"checkpoints": stored_checkpoints(checkpoints)} if named else {}
    run_id = new_id("run")
    conn.execute(
        insert(run).values(
            id=run_id,
            owner=owner,
            dataset_id=dataset_id,
            name=None if name is None else storable(name),
            dry_run=dry_run,
            is_sample=is_sample,
            webhook_url=webhook_url,
            method=spec.method,
            spec=spec.as_dict(),
            revision=revision,
            blocks_per_unit=settings.blocks_per_unit,
            units_in_flight=settings.units_in_flight,
            max_attempts=settings.max_attempts,
            cache_snapshot=cast(func.pg_current_snapshot(), Text) if spec.cache else None,
            event_seq=1,
            **own,
        )
    )
    accepted = {"status": "queued"}
    insert_event(conn, run_id, 1, "run.queued", "The run was accepted.", data=accepted)
    wakeups = _begin(conn, run_id, data)
    return load_run(conn, run_id), wakeups


def get_run(conn: Connection, *, owner: str, run_id: str) -> Run:
    """A run of the owner.

    Raises:
        NotFound: the owner has none with this id.
    """
    row = conn.execute(_query(owner).where(run.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no run {run_id!r}.")
    return _run(row)


def load_run(conn: Connection, run_id: str) -> Run:
    """A run by its id alone, for workers; one that is being deleted is still there."""
    return _run(conn.execute(_COLUMNS.where(run.c.id == run_id)).one())


def list_runs(  # one parameter a filter
    conn: Connection,
    *,
    owner: str,
    after: str | None = None,
    limit: int = 20,
    dataset_id: str | None = None,
    status: RunStatus | None = None,
    dry_runs: bool = True,
) -> Page[Run]:
    """The owner's runs, the newest first, beginning after the one with the id `after`; `dry_runs`: those too."""
    statement = _newest_first(owner, dataset_id)
    if status is not None:
        statement = statement.where(run.c.status == status)
    if not dry_runs:
        statement = statement.where(~run.c.dry_run)
    if after is not None:
        last = conn.execute(_query(owner).where(run.c.id == after)).one_or_none()
        if last is None:
            raise NotFound(f"There is no run {after!r}.")
        statement = statement.where(
            tuple_(run.c.created_at, run.c.id) < tuple_(last.created_at, last.id)
        )
    rows = conn.execute(statement.limit(limit + 1))
    return page_of([_run(row) for row in rows], limit)


def newest_run(
    conn: Connection, *, owner: str, dataset_id: str | None = None, method: Method | None = None
) -> Run:
    """The owner's newest run that neither failed nor was cancelled: what a request means that names no run.

    A dry run has no scores and is none. Those that `POST /trust` and Label Studio make score a few rows on the side;
    whoever means one names it.

    Raises:
        NotFound: there is none.
    """
    statement = _newest_first(owner, dataset_id).where(
        run.c.status.not_in(STOPPED), ~run.c.dry_run, ~run.c.is_sample
    )
    if method is not None:
        statement = statement.where(run.c.method == method)
    row = conn.execute(statement.limit(1)).one_or_none()
    if row is None:
        raise NotFound("There is no such run yet. POST a dataset to /score first.")
    return _run(row)


def cancel_run(conn: Connection, *, owner: str, run_id: str) -> tuple[Run, list[Wakeup]]:
    """Cancel a run, and its trajectory if no other run needs that; doing so twice changes nothing.

    Raises:
        NotFound: the owner has no such run.
        Conflict: it has already completed or failed.
    """
    get_run(conn, owner=owner, run_id=run_id)
    wakeups = stop_run(conn, run_id, "The run was cancelled.")
    now = get_run(conn, owner=owner, run_id=run_id)
    if now.status != "cancelled":
        raise Conflict(f"The run has already {now.status}; it can't be cancelled.")
    return now, wakeups


def delete_run(conn: Connection, *, owner: str, run_id: str) -> list[Wakeup]:
    """Hide a run at once, cancel what works on it, and enqueue its removal."""
    get_run(conn, owner=owner, run_id=run_id)
    wakeups = stop_run(conn, run_id, "The run was deleted.")
    units.cancel_queued(conn, work.c.run_id == run_id)
    conn.execute(update(run).where(run.c.id == run_id).values(deleted_at=clock()))
    return [*wakeups, *units.enqueue(conn, kind="purge", subject=run_id)]


def adopt_revision(conn: Connection, run_id: str, revision: str, window: int) -> None:
    """Bind a run to the model files that this worker has, unless it is bound already.

    Raises:
        RevisionMismatch: the run is bound to other files.
    """
    bound = conn.execute(select(run.c.revision, run.c.window).where(run.c.id == run_id)).one()
    if bound == (revision, window):
        return
    adopted = conn.execute(
        update(run)
        .where(run.c.id == run_id, func.coalesce(run.c.revision, revision) == revision)
        .values(revision=revision, window=func.coalesce(run.c.window, window))
    )
    if adopted.rowcount == 0:
        raise RevisionMismatch(
            f"The run was made with model files of revision {bound.revision}; this worker has {revision}. "
            "Give every worker the same model files."
        )


def waits_for(conn: Connection, run: Run) -> str | None:
    """What a run that nobody can take waits for; None if a worker is there, or the run is over."""
    if not run.active:
        return None
    listened = {queue for worker in live_workers(conn) for queue in worker.queues}
    if run.status == "training" and run.trajectory_id is not None:
        return trajectories.waits_for(conn, trajectories.load_trajectory(conn, run.trajectory_id))
    if run.status == "scoring" and run.queue != QUEUE_IO:
        if run.queue in listened:
            return None
        return (
            f"No running worker offers {run.offer.model} on {run.engine} in {run.dtype}. Start one with "
            f"`winnow worker --queues score --engine {run.engine}`, with {run.offer.model} in WINNOW_MODELS."
        )
    if QUEUE_IO in listened:
        return None
    return "No running worker takes io work. Start one with `winnow worker --queues io`."


def _begin(conn: Connection, run_id: str, data: Dataset) -> list[Wakeup]:
    if data.status == "ready":
        return start_run(conn, run_id)
    if data.error is not None:
        progress.fail_run(conn, run_id, data.error)
    elif conn.scalar(_ingest_is_running(data.id)):
        progress.move(conn, run_id, "ingesting", "The dataset is being read.")
    return []


def _ingest_is_running(dataset_id: str) -> Select[tuple[bool]]:
    running = select(work.c.id).where(
        work.c.dataset_id == dataset_id, work.c.kind == "ingest", work.c.state == "running"
    )
    return select(running.exists())


_ROWS_IN_WORK = (
    select(func.coalesce(func.sum(work.c.rows_done), 0))
    .where(work.c.run_id == run.c.id, work.c.kind == "score", work.c.state == "running")
    .scalar_subquery()
)
_SCORING = func.coalesce(run.c.scored_at, run.c.finished_at, clock()) - run.c.scoring_at
_COLUMNS: Select[Any] = select(
    run,
    (run.c.rows_done + _ROWS_IN_WORK).label("rows_live"),
    func.extract("epoch", _SCORING).label("scoring_s"),
)


def _query(owner: str) -> Select[Any]:
    return _COLUMNS.where(run.c.owner == owner, run.c.deleted_at.is_(None))


def _newest_first(owner: str, dataset_id: str | None) -> Select[Any]:
    statement = _query(owner).order_by(run.c.created_at.desc(), run.c.id.desc())
    return statement if dataset_id is None else statement.where(run.c.dataset_id == dataset_id)


def _run(row: Row[Any]) -> Run:
    return Run(
        id=row.id,
        owner=row.owner,
        name=row.name,
        dataset_id=row.dataset_id,
        spec=RunSpec.read(row.spec),
        trajectory_id=row.trajectory_id,
        revision=row.revision,
        window=row.window,
        status=row.status,
        rows=row.rows,
        blocks=row.blocks,
        blocks_done=row.blocks_done,
        rows_done=int(row.rows_live),
        rows_scored=row.rows_scored,
        rows_rejected=row.rows_rejected,
        rows_cached=row.rows_cached,
        cache_snapshot=row.cache_snapshot,
        error=ErrorInfo.read(row.error),
        warnings=tuple(row.warnings),
        summary=row.summary,
        dry_run=row.dry_run,
        is_sample=row.is_sample,
        estimate=None if row.estimate is None else Estimate.read(row.estimate),
        webhook_url=row.webhook_url,
        created_at=row.created_at.timestamp(),
        started_at=unix(row.started_at),
        finished_at=unix(row.finished_at),
        scoring_s=None if row.scoring_s is None else float(row.scoring_s),
    )
