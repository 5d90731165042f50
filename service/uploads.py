"""A dataset or a training file on its way in: sniffed, hashed, limited and written while it arrives.

The bytes go to the blob folder of a fresh id, under a temporary name until the last one is there. An unknown format is
refused from the first 64 KiB. When the request has ended, however it ended, the file stays only if the database now
knows an object of that id: a known dataset sent again, a replayed request, a refused option and a failed commit all
leave nothing behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Generic, TypeVar

import structlog
from anyio import CancelScope, to_thread
from fastapi import Request
from fastapi.concurrency import contextmanager_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from service.body import HEAD_BYTES, Body, located_in_body
from service.errors import DATABASE_AWAY
from service.resources import Resources
from winnow.errors import InvalidOption, NotFound, TooLarge
from winnow.messages import Wakeup
from winnow.records.formats import sniff
from winnow.settings import Settings
from winnow.store import datasets
from winnow.store.ids import new_id
from winnow.store.session import Connection

log = structlog.get_logger(__name__)

WRITE_BYTES = 1024**2
"""Bytes handed to a thread at a time; a thread hop for every network chunk would cost more than the writing."""

MAX_NAME = 200


class UploadOptions(BaseModel):
    """Options that every upload has."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(
        None, max_length=MAX_NAME, description="A name for people; default: the file's."
    )
    format: str = Field(
        "auto",
        description="Container of the upload: auto, json, jsonl, csv, tsv or parquet. Compression is always detected.",
    )


Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Where uploads of one kind lie, and how the database is asked whether it knows one: `find` raises NotFound."""

    folder: str
    filename: str
    new_id: Callable[[], str]
    find: Callable[[Connection, str, str], object]

    def folder_of(self, upload_id: str) -> str:
        """What is deleted with the upload."""
        return f"{self.folder}/{upload_id}"

    def path(self, upload_id: str) -> str:
        """Where the bytes of an upload lie as they were sent."""
        return f"{self.folder_of(upload_id)}/{self.filename}"


def _find_dataset(connection: Connection, owner: str, dataset_id: str) -> object:
    return datasets.get_dataset(connection, owner=owner, dataset_id=dataset_id)


DATASETS = Room(
    folder="datasets", filename="upload", new_id=partial(new_id, "ds"), find=_find_dataset
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Bytes that lie in the blob store under the path that their room has for `id`."""

    id: str
    sha256: str
    size_bytes: int
    filename: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Generic[Options]):
    """What came in: options from the query and the body together, and a file if there was one."""

    options: Options
    upload: Upload | None

    def fingerprint(self) -> dict[str, object]:
        """What makes two requests the same."""
        sha256 = None if self.upload is None else self.upload.sha256
        return {"options": self.options.model_dump(mode="json"), "sha256": sha256}


@asynccontextmanager
async def receive(
    request: Request,
    resources: Resources,
    *,
    owner: str,
    query: Options,
    room: Room = DATASETS,
) -> AsyncIterator[Received[Options]]:
    """Read the body of `request` to its end.

    Raises:
        UnknownFormat: what arrived is no dataset.
        TooLarge: it is larger than the installation accepts.
        InvalidOption: an option is unknown, or was given twice with different values.
    """
    settings = resources.settings
    body = Body(
        request,
        max_bytes=settings.max_upload_bytes,
        option_names=frozenset(type(query).model_fields),
    )
    given = query.format if isinstance(query, UploadOptions) else "auto"
    upload = await _store(body, resources, room, given=given)
    try:
        yield Received(options=_merge(query, body.options), upload=upload)
    finally:
        if upload is not None:
            with CancelScope(shield=True):
                await to_thread.run_sync(discard_unless_known, resources, room, owner, upload.id)


async def _store(body: Body, resources: Resources, room: Room, *, given: str) -> Upload | None:
    chunks = body.chunks()
    first = await anext(chunks, None)
    if first is None:
        return None
    upload_id = room.new_id()
    try:
        async with contextmanager_in_threadpool(
            resources.blobs.write(room.path(upload_id))
        ) as file:
            writer = _Writer(file, max_bytes=resources.settings.max_upload_bytes)
            pending = bytearray(first)
            async for chunk in chunks:
                pending += chunk
                if len(pending) >= (WRITE_BYTES if writer.head else HEAD_BYTES):
                    await to_thread.run_sync(writer.write, bytes(pending), _given(body, given))
                    pending.clear()
            await to_thread.run_sync(writer.write, bytes(pending), _given(body, given))
    except BaseException:
        with CancelScope(shield=True):
            await to_thread.run_sync(resources.blobs.delete_tree, room.folder_of(upload_id))
        raise
    return Upload(
        id=upload_id,
        sha256=writer.hash.hexdigest(),
        size_bytes=writer.size_bytes,
        filename=body.filename and body.filename[:MAX_NAME],
    )


def create_dataset(
    connection: Connection,
    upload: Upload,
    options: UploadOptions,
    *,
    owner: str,
    kept: bool = True,
    settings: Settings,
) -> tuple[datasets.Dataset, list[Wakeup]]:
    """The owner's dataset of these bytes: a new one, or the one that they already are; `kept` unless for a dry run."""
    return datasets.create_dataset(
        connection,
        owner=owner,
        dataset_id=upload.id,
        name=options.name or upload.filename,
        sha256=upload.sha256,
        size_bytes=upload.size_bytes,
        requested_format=options.format,
        kept=kept,
        settings=settings,
    )


class _Writer:
    """Takes the pieces of one upload, the first of them at least a head if there is so much."""

    def __init__(self, file: BinaryIO, *, max_bytes: int) -> None:
        self.head = b""
        self.size_bytes = 0
        self.hash = hashlib.sha256()
        self._file = file
        self._max_bytes = max_bytes
        self._given: str | None = None

    def write(self, piece: bytes, given: str) -> None:
        """Sniff the head, once more if the format is named after the file; check the size, hash and write."""
        self.head = self.head or piece[:HEAD_BYTES]
        if given != self._given:
            sniff(self.head, given=given)
            self._given = given
        self.size_bytes += len(piece)
        if self.size_bytes > self._max_bytes:
            raise TooLarge(f"The file is larger than {self._max_bytes} bytes.")
        self.hash.update(piece)
        self._file.write(piece)


def _given(body: Body, given: str) -> str:
    return str(body.options.get("format", given))


def discard_unless_known(resources: Resources, room: Room, owner: str, upload_id: str) -> None:
    """Delete what was written for an id that the database does not know."""
    try:
        with resources.database.transaction() as connection:
            room.find(connection, owner, upload_id)
    except NotFound:
        resources.blobs.delete_tree(room.folder_of(upload_id))
    except DATABASE_AWAY as error:
        # The request may have been committed; a file too many is the lesser evil.
        log.warning("upload.kept", upload=upload_id, error=str(error))


def _merge(query: Options, body: Mapping[str, object]) -> Options:
    """The options of both places; a value of the body goes through the same checks as one of the query."""
    kind = type(query)
    with located_in_body():
        posted = kind.model_validate(body)
    for name in query.model_fields_set & posted.model_fields_set:
        if getattr(query, name) != getattr(posted, name):
            raise InvalidOption(
                f"{name} is in the query and in the body, with different values.", param=name
            )
    given = query.model_dump(exclude_unset=True) | posted.model_dump(exclude_unset=True)
    return kind.model_validate(given)
