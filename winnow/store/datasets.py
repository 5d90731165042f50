"""Datasets: the bytes that were posted, once per owner, and what reading them found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from winnow import errors
from winnow.errors import NotFound
from winnow.messages import Wakeup
from winnow.records.example import Rejection, RejectionReason
from winnow.settings import Settings
from winnow.store import progress, units
from winnow.store.clock import clock
from winnow.store.tables import dataset, rejection, run, work
from winnow.store.trajectory_use import delete_trajectories
from winnow.store.values import ErrorInfo, Page, page_of, storable

__all__ = [
    "Dataset",
    "DatasetStatus",
    "ErrorInfo",
    "Page",
    "create_dataset",
    "delete_dataset",
    "get_dataset",
    "list_datasets",
    "list_rejections",
    "load_dataset",
    "rejected_rows",
]

DatasetStatus = Literal["ingesting", "ready", "failed"]
ROWS_AT_A_TIME = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset of one owner. `format` is what was found, and is None like the counts until the dataset is ready.

    `created_at` is in unix seconds.
    """

    id: str
    owner: str
    name: str | None
    sha256: str
    size_bytes: int
    requested_format: str
    format: str | None
    status: DatasetStatus
    rows_read: int | None
    rows_usable: int | None
    rows_rejected: int | None
    num_blocks: int | None
    error: ErrorInfo | None
    created_at: float


def create_dataset(  # the facts of an upload
    conn: Connection,
    *,
    owner: str,
    dataset_id: str,
    name: str | None,
    sha256: str,
    size_bytes: int,
    requested_format: str,
    kept: bool = True,
    settings: Settings,
) -> tuple[Dataset, list[Wakeup]]:
    """Insert a dataset whose upload is stored under `dataset_id`, and enqueue reading it.

    If the owner has a dataset of the same bytes and format, that one is returned, with another id: the caller then
    deletes the upload of its own. One that failed for a reason that is not in its bytes is read again. Unless
    `kept`, it is removed when the dry runs that asked for it are over and the samples deleted, if nothing else has
    asked for it.
    """
    made = conn.execute(
        insert(dataset)
        .values(
            id=dataset_id,
            owner=owner,
            name=None if name is None else storable(name),
            sha256=sha256,
            size_bytes=size_bytes,
            requested_format=requested_format,
            kept=kept,
        )
        .on_conflict_do_nothing(
            index_elements=["owner", "sha256", "requested_format"],
            index_where=dataset.c.deleted_at.is_(None),
        )
        .returning(dataset)
    ).one_or_none()
    if made is not None:
        return _dataset(made), _enqueue_ingest(conn, dataset_id, settings)
    existing = conn.execute(
        _content(owner, sha256, requested_format).with_for_update(key_share=True)
    ).one_or_none()
    if existing is None:  # deleted between the two statements
        return create_dataset(
            conn,
            owner=owner,
            dataset_id=dataset_id,
            name=name,
            sha256=sha256,
            size_bytes=size_bytes,
            requested_format=requested_format,
            kept=kept,
            settings=settings,
        )
    if kept:
        keep_dataset(conn, existing.id)
    if not _worth_another_try(existing):
        return _dataset(existing), []
    again = conn.execute(
        update(dataset)
        .where(dataset.c.id == existing.id)
        .values(status="ingesting", error=None)
        .returning(dataset)
    ).one()
    return _dataset(again), _enqueue_ingest(conn, existing.id, settings)


def get_dataset(conn: Connection, *, owner: str, dataset_id: str) -> Dataset:
    """A dataset of the owner.

    Raises:
        NotFound: the owner has none with this id.
    """
    return _dataset(_owned(conn, owner, dataset_id))


def load_dataset(conn: Connection, dataset_id: str) -> Dataset:
    """A dataset by its id alone, for workers; one that is being deleted is still there."""
    return _dataset(conn.execute(select(dataset).where(dataset.c.id == dataset_id)).one())


def list_datasets(
    conn: Connection, *, owner: str, after: str | None = None, limit: int = 20
) -> Page[Dataset]:
    """The owner's datasets, the newest first, beginning after the one with the id `after`."""
    statement = select(dataset).where(_visible(owner))
    if after is not None:
        last = _owned(conn, owner, after)
        statement = statement.where(tuple_(last.created_at, last.id) > _NEWEST_KEY)
    statement = statement.order_by(dataset.c.created_at.desc(), dataset.c.id.desc())
    rows = conn.execute(statement.limit(limit + 1))
    return page_of([_dataset(row) for row in rows], limit)


def list_rejections(
    conn: Connection, *, owner: str, dataset_id: str, after_row: int = -1, limit: int = 100
) -> Page[Rejection]:
    """Rows of the dataset that are no example, in row order, beginning after the row `after_row`."""
    _owned(conn, owner, dataset_id)
    statement = (
        select(rejection)
        .where(rejection.c.dataset_id == dataset_id, rejection.c.row > after_row)
        .order_by(rejection.c.row)
        .limit(limit + 1)
    )
    found = [
        Rejection(row=row.row, reason=RejectionReason(row.reason), detail=row.detail)
        for row in conn.execute(statement)
    ]
    return page_of(found, limit)


def rejected_rows(conn: Connection, *, owner: str, dataset_id: str) -> Iterator[Sequence[int]]:
    """The numbers of the rows that are no example, `ROWS_AT_A_TIME` in memory at a time, in no order.

    Raises:
        NotFound: the owner has no such dataset.
    """
    _owned(conn, owner, dataset_id)
    of_it = select(rejection.c.row).where(rejection.c.dataset_id == dataset_id)
    found = conn.execute(of_it, execution_options={"yield_per": ROWS_AT_A_TIME})
    yield from found.scalars().partitions()


def delete_dataset(conn: Connection, *, owner: str, dataset_id: str) -> list[Wakeup]:
    """Hide a dataset, its runs and trajectories at once, cancel what works on them, and enqueue their removal."""
    _owned(conn, owner, dataset_id, lock=True)
    conn.execute(update(dataset).where(dataset.c.id == dataset_id).values(deleted_at=clock()))
    training = delete_trajectories(conn, dataset_id)
    of_it = select(run.c.id).where(run.c.dataset_id == dataset_id).order_by(run.c.id)
    for run_id in conn.scalars(of_it).all():
        progress.stop_run(conn, run_id, "The dataset was deleted.")
        conn.execute(update(run).where(run.c.id == run_id).values(deleted_at=clock()))
    units.cancel_queued(conn, work.c.dataset_id == dataset_id)
    return [*training, *units.enqueue(conn, kind="purge", subject=dataset_id)]


def keep_dataset(conn: Connection, dataset_id: str) -> None:
    """Let a dataset outlive the dry runs and samples that it was stored for."""
    uploaded = (dataset.c.id == dataset_id) & ~dataset.c.kept
    conn.execute(update(dataset).where(uploaded).values(kept=True))


def lock_dataset(conn: Connection, *, owner: str, dataset_id: str) -> Dataset:
    """A dataset of the owner, locked against changes of its status until the transaction ends."""
    return _dataset(_owned(conn, owner, dataset_id, lock=True))


_NEWEST_KEY = tuple_(dataset.c.created_at, dataset.c.id)

_IN_THE_BYTES = {
    errors.InputError.code,
    *(kind.code for kind in errors.InputError.__subclasses__()),
}


def _worth_another_try(row: Row[Any]) -> bool:
    return row.status == "failed" and row.error["code"] not in _IN_THE_BYTES


def _enqueue_ingest(conn: Connection, dataset_id: str, settings: Settings) -> list[Wakeup]:
    return units.enqueue(
        conn,
        kind="ingest",
        subject=dataset_id,
        dataset_id=dataset_id,
        max_attempts=settings.max_attempts,
    )


def _visible(owner: str) -> Any:
    return (dataset.c.owner == owner) & dataset.c.deleted_at.is_(None)


def _content(owner: str, sha256: str, requested_format: str) -> Select[Any]:
    return select(dataset).where(
        _visible(owner),
        dataset.c.sha256 == sha256,
        dataset.c.requested_format == requested_format,
    )


def _owned(conn: Connection, owner: str, dataset_id: str, *, lock: bool = False) -> Row[Any]:
    statement = select(dataset).where(_visible(owner), dataset.c.id == dataset_id)
    locked = statement.with_for_update(key_share=True)
    row = conn.execute(locked if lock else statement).one_or_none()
    if row is None:
        raise NotFound(f"There is no dataset {dataset_id!r}.")
    return row


def _dataset(row: Row[Any]) -> Dataset:
    return Dataset(
        id=row.id,
        owner=row.owner,
        name=row.name,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        requested_format=row.requested_format,
        format=row.format,
        status=row.status,
        rows_read=row.rows_read,
        rows_usable=row.rows_usable,
        rows_rejected=row.rows_rejected,
        num_blocks=row.num_blocks,
        error=ErrorInfo.read(row.error),
        created_at=row.created_at.timestamp(),
    )
