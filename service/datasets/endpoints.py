"""`/datasets`: put one in, look at it, take it away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from service.auth import Owner
from service.datasets.schemas import DatasetView, RejectionView
from service.idempotency import Created, IdempotencyKey, create_once
from service.openapi import DATASET_BODY, accepts
from service.pages import After, AfterNumber, Limit, List, LongLimit
from service.resources import Gateway
from service.uploads import Received, UploadOptions, create_dataset, receive
from winnow.errors import InvalidOption
from winnow.store import datasets
from winnow.store.session import Connection

router = APIRouter(prefix="/datasets", tags=["datasets"])


async def _received(
    request: Request, gateway: Gateway, owner: Owner, query: Annotated[UploadOptions, Query()]
) -> AsyncIterator[Received[UploadOptions]]:
    async with receive(request, gateway, owner=owner, query=query) as received:
        yield received


@router.post(
    "",
    operation_id="create_dataset",
    status_code=202,
    response_model=DatasetView,
    openapi_extra=accepts(DATASET_BODY),
)
def create(
    gateway: Gateway,
    owner: Owner,
    received: Annotated[Received[UploadOptions], Depends(_received, scope="function")],
    key: IdempotencyKey = None,
) -> Response:
    """Put a dataset in: the raw body, or the multipart field `file`. The same bytes of one owner are one dataset."""
    upload = received.upload
    if upload is None:
        raise InvalidOption("Send a dataset: the raw body, or the field 'file'.", param="file")

    def store(connection: Connection) -> Created:
        dataset, wakeups = create_dataset(
            connection, upload, received.options, owner=owner, settings=gateway.settings
        )
        return Created(
            body=DatasetView.of(dataset),
            status=202 if dataset.status == "ingesting" else 200,
            headers={"Location": f"/datasets/{dataset.id}", "Retry-After": "1"},
            wakeups=wakeups,
        )

    request = {"route": "POST /datasets", **received.fingerprint()}
    return create_once(gateway, store, owner=owner, key=key, fingerprint=request)


@router.get("", operation_id="list_datasets")
def list_datasets(
    gateway: Gateway, owner: Owner, after: After = None, limit: Limit = 20
) -> List[DatasetView]:
    """Your datasets, the newest first."""
    with gateway.database.transaction() as connection:
        page = datasets.list_datasets(connection, owner=owner, after=after, limit=limit)
    return List(data=[DatasetView.of(item) for item in page.items], has_more=page.has_more)


@router.get("/{dataset_id}", operation_id="get_dataset")
def get(gateway: Gateway, owner: Owner, dataset_id: str) -> DatasetView:
    """One dataset: what it is, and how many of its rows can be used."""
    with gateway.database.transaction() as connection:
        return DatasetView.of(datasets.get_dataset(connection, owner=owner, dataset_id=dataset_id))


@router.get("/{dataset_id}/rejections", operation_id="list_rejections")
def list_rejections(
    gateway: Gateway, owner: Owner, dataset_id: str, after: AfterNumber = -1, limit: LongLimit = 100
) -> List[RejectionView]:
    """The rows that are no example, in order, each with its line, field and remedy."""
    with gateway.database.transaction() as connection:
        page = datasets.list_rejections(
            connection, owner=owner, dataset_id=dataset_id, after_row=after, limit=limit
        )
    return List(data=[RejectionView.of(item) for item in page.items], has_more=page.has_more)


@router.delete("/{dataset_id}", operation_id="delete_dataset", status_code=204)
def delete(gateway: Gateway, owner: Owner, dataset_id: str) -> None:
    """Take a dataset away: its runs and trajectories are cancelled, its rows and files are purged."""
    with gateway.database.transaction() as connection:
        wakeups = datasets.delete_dataset(connection, owner=owner, dataset_id=dataset_id)
    gateway.publisher.publish(wakeups)
