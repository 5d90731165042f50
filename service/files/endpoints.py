"""`/v1/files`: training data in, results of fine-tuning out; what `openai.files` talks to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from service.auth import Owner
from service.files.schemas import FileDeleted, FileOptions, FileView
from service.idempotency import Created, IdempotencyKey, create_once
from service.openapi import FILE_BODY, accepts, streams
from service.pages import After, List
from service.resources import Gateway
from service.uploads import Received, Room, receive
from winnow.errors import InvalidOption
from winnow.store import files
from winnow.store.blobs import Blobs
from winnow.store.session import Connection

router = APIRouter(prefix="/v1/files", tags=["files"])

MEDIA_TYPE = "application/octet-stream"
CHUNK_BYTES = 1024**2
MAX_PAGE = 10_000
"""As OpenAI has it: a client that does not page sees everything up to here."""


def _find(connection: Connection, owner: str, file_id: str) -> object:
    return files.get_file(connection, owner=owner, file_id=file_id)


FILES = Room(folder="files", filename="content", new_id=files.new_file_id, find=_find)


async def _received(
    request: Request, gateway: Gateway, owner: Owner, query: Annotated[FileOptions, Query()]
) -> AsyncIterator[Received[FileOptions]]:
    async with receive(request, gateway, owner=owner, query=query, room=FILES) as received:
        yield received


@router.post(
    "", operation_id="create_file", response_model=FileView, openapi_extra=accepts(FILE_BODY)
)
def create(
    gateway: Gateway,
    owner: Owner,
    received: Annotated[Received[FileOptions], Depends(_received, scope="function")],
    key: IdempotencyKey = None,
) -> Response:
    """Upload training data, in any format that `POST /score` takes: the multipart fields `file` and `purpose`."""
    upload, purpose = received.upload, received.options.purpose
    if upload is None:
        raise InvalidOption("Send the data as the multipart field 'file'.", param="file")
    if purpose is None:
        raise InvalidOption("Say purpose=fine-tune.", param="purpose")

    filename = received.options.filename or upload.filename or "upload"

    def store(connection: Connection) -> Created:
        file = files.create_file(
            connection,
            owner=owner,
            file_id=upload.id,
            filename=filename,
            size_bytes=upload.size_bytes,
            purpose=purpose,
            sha256=upload.sha256,
            blob=FILES.path(upload.id),
        )
        headers = {"Location": f"{router.prefix}/{file.id}"}
        return Created(body=FileView.of(file), status=200, headers=headers)

    request = {"route": "POST /v1/files", "filename": filename, **received.fingerprint()}
    return create_once(gateway, store, owner=owner, key=key, fingerprint=request)


@router.get("", operation_id="list_files")
def list_files(
    gateway: Gateway,
    owner: Owner,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items of a page.")] = MAX_PAGE,
    order: Annotated[Literal["asc", "desc"], Query(description="By time of creation.")] = "desc",
    purpose: Annotated[str | None, Query(description="Files with this purpose only.")] = None,
) -> List[FileView]:
    """Your files: those you uploaded, and those that fine-tuning jobs left."""
    with gateway.database.transaction() as connection:
        page = files.list_files(
            connection,
            owner=owner,
            after=after,
            limit=limit,
            purpose=purpose,
            oldest_first=order == "asc",
        )
    return List(data=[FileView.of(item) for item in page.items], has_more=page.has_more)


@router.get("/{file_id}", operation_id="get_file")
def get(gateway: Gateway, owner: Owner, file_id: str) -> FileView:
    """One file: its name, size and hash."""
    with gateway.database.transaction() as connection:
        return FileView.of(files.get_file(connection, owner=owner, file_id=file_id))


@router.get(
    "/{file_id}/content",
    operation_id="get_file_content",
    response_class=StreamingResponse,
    responses=streams("The bytes of the file.", MEDIA_TYPE),
)
@router.head(
    "/{file_id}/content",
    operation_id="head_file_content",
    response_class=StreamingResponse,
    include_in_schema=False,
)
def content(request: Request, gateway: Gateway, owner: Owner, file_id: str) -> Response:
    """The bytes of a file, as they were uploaded or as a job left them."""
    with gateway.database.transaction() as connection:
        file = files.get_file(connection, owner=owner, file_id=file_id)
    headers = {
        "Content-Length": str(file.size_bytes),
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(file.filename, safe='')}",
        "ETag": f'"{file.sha256}"',
    }
    pieces = _pieces(gateway.blobs, file.blob) if request.method == "GET" else iter(())
    return StreamingResponse(pieces, media_type=MEDIA_TYPE, headers=headers)


@router.delete("/{file_id}", operation_id="delete_file")
def delete(gateway: Gateway, owner: Owner, file_id: str) -> FileDeleted:
    """Take a file away."""
    with gateway.database.transaction() as connection:
        wakeups = files.delete_file(connection, owner=owner, file_id=file_id)
    gateway.publisher.publish(wakeups)
    return FileDeleted(id=file_id)


def _pieces(blobs: Blobs, path: str) -> Iterator[bytes]:
    with blobs.open_read(path) as file:
        while piece := file.read(CHUNK_BYTES):
            yield piece
