"""Files of an owner: what was uploaded to train on, and what a fine-tune left. The bytes are blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, tuple_, update

from winnow.errors import NotFound
from winnow.messages import Wakeup
from winnow.store import units
from winnow.store.clock import clock
from winnow.store.ids import new_id
from winnow.store.tables import file
from winnow.store.values import Page, page_of, storable


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of one owner; `blob` is the path of its bytes in the blob store, `created_at` in unix seconds."""

    id: str
    owner: str
    filename: str
    size_bytes: int
    purpose: str
    sha256: str
    blob: str
    created_at: float


def new_file_id() -> str:
    """An id for a file whose bytes are about to be stored; those of an upload go to `files/{id}/content`."""
    return new_id("file")


def create_file(  # the facts of a file
    conn: Connection,
    *,
    owner: str,
    file_id: str,
    filename: str,
    size_bytes: int,
    purpose: str,
    sha256: str,
    blob: str,
) -> File:
    """Insert a file whose bytes are stored."""
    made = conn.execute(
        insert(file)
        .values(
            id=file_id,
            owner=owner,
            filename=storable(filename),
            size_bytes=size_bytes,
            purpose=purpose,
            sha256=sha256,
            blob=blob,
        )
        .returning(file)
    )
    return _file(made.one())


def get_file(conn: Connection, *, owner: str, file_id: str) -> File:
    """A file of the owner.

    Raises:
        NotFound: the owner has none with this id.
    """
    return _file(_owned(conn, owner, file_id))


def list_files(  # one parameter a filter
    conn: Connection,
    *,
    owner: str,
    after: str | None = None,
    limit: int = 20,
    purpose: str | None = None,
    oldest_first: bool = False,
) -> Page[File]:
    """The owner's files, the newest first unless `oldest_first`, beginning after the one with the id `after`."""
    statement = _visible(owner)
    if purpose is not None:
        statement = statement.where(file.c.purpose == purpose)
    place = tuple_(file.c.created_at, file.c.id)
    if after is not None:
        row = _owned(conn, owner, after)
        last = tuple_(row.created_at, row.id)
        statement = statement.where(place > last if oldest_first else place < last)
    keys = (file.c.created_at, file.c.id)
    order = [key.asc() if oldest_first else key.desc() for key in keys]
    rows = conn.execute(statement.order_by(*order).limit(limit + 1))
    return page_of([_file(row) for row in rows], limit)


def delete_file(conn: Connection, *, owner: str, file_id: str) -> list[Wakeup]:
    """Hide a file at once, and enqueue its removal. A job that has read it already goes on."""
    _owned(conn, owner, file_id)
    conn.execute(update(file).where(file.c.id == file_id).values(deleted_at=clock()))
    return units.enqueue(conn, kind="purge", subject=file_id)


def blob_of(conn: Connection, file_id: str) -> str | None:
    """Where the bytes of a file lie, a deleted one's too, for those who remove them; None if there is no such file."""
    return conn.scalar(select(file.c.blob).where(file.c.id == file_id))


def _visible(owner: str) -> Select[Any]:
    return select(file).where(file.c.owner == owner, file.c.deleted_at.is_(None))


def _owned(conn: Connection, owner: str, file_id: str) -> Row[Any]:
    row = conn.execute(_visible(owner).where(file.c.id == file_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no file {file_id!r}.")
    return row


def _file(row: Row[Any]) -> File:
    return File(
        id=row.id,
        owner=row.owner,
        filename=row.filename,
        size_bytes=row.size_bytes,
        purpose=row.purpose,
        sha256=row.sha256,
        blob=row.blob,
        created_at=row.created_at.timestamp(),
    )
