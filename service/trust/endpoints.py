"""`POST /trust`: the papers' central claim, checked on the caller's own rows.

Nothing is kept that is not kept anyway: a sampled dataset and two runs. What they say of each other is
`GET /runs/{proxy}/trust/{target}`, which any two runs of one method over one dataset can be asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from service.auth import Owner
from service.idempotency import Created, IdempotencyKey, create_once, replayed
from service.openapi import TRUST_BODY, accepts
from service.proxies import check_scorable, local_revision
from service.resources import Gateway, Resources
from service.score.dataset import named_dataset
from service.trust.report import TrustReport, report
from service.trust.sample import container_of, draw, require_ready, written
from service.trust.schemas import TrustOptions, TrustView
from service.uploads import Received, Upload, receive
from winnow.messages import Wakeup
from winnow.store import datasets, runs
from winnow.store.datasets import Dataset
from winnow.store.session import Connection

router = APIRouter(tags=["trust"])


async def _received(
    request: Request, gateway: Gateway, owner: Owner, query: Annotated[TrustOptions, Query()]
) -> AsyncIterator[Received[TrustOptions]]:
    async with receive(request, gateway, owner=owner, query=query) as received:
        yield received


@router.post(
    "/trust",
    operation_id="check_trust",
    status_code=202,
    response_model=TrustView,
    openapi_extra=accepts(TRUST_BODY),
)
def trust(
    gateway: Gateway,
    owner: Owner,
    received: Annotated[Received[TrustOptions], Depends(_received, scope="function")],
    key: IdempotencyKey = None,
) -> Response:
    """Score a sample of a dataset with a small and a large model, to see how far the one ranks it as the other does.

    The dataset is sent along or named as `dataset`, as in POST /score. 409 `dataset_not_ready` with `Retry-After` while
    it is being read: send the request again. `Location` is the report, 409 until both runs are completed.
    """
    request = {"route": "POST /trust", **received.fingerprint()}
    # Drawing a sample takes seconds: a request that has its answer already draws none.
    if (answer := replayed(gateway, owner=owner, key=key, fingerprint=request)) is not None:
        return answer
    options = received.options
    specs = options.specs(gateway.settings)
    for name, spec in zip(("proxy", "target"), specs, strict=True):
        check_scorable(spec.model, gateway, owner=owner, param=name)
    dataset = _ready_dataset(gateway, received, owner)
    rows = draw(gateway, dataset, sample=options.sample, seed=options.seed)
    with written(gateway, dataset, rows) as upload:

        def start(connection: Connection) -> Created:
            sampled, reading = _sampled_dataset(connection, gateway, dataset, upload)
            pair = [
                runs.create_run(
                    connection,
                    owner=owner,
                    dataset_id=sampled.id,
                    spec=spec,
                    revision=local_revision(spec.model),
                    name=options.name,
                    is_sample=True,
                    settings=gateway.settings,
                )
                for spec in specs
            ]
            view = TrustView.of(dataset, rows, [run for run, _ in pair], seed=options.seed)
            return Created(
                body=view,
                status=202,
                headers={"Location": view.links["report"], "Retry-After": "1"},
                wakeups=[*reading, *(wakeup for _, wakeups in pair for wakeup in wakeups)],
            )

        return create_once(gateway, start, owner=owner, key=key, fingerprint=request)


@router.get("/runs/{run_id}/trust/{other_id}", operation_id="get_trust")
def get_trust(gateway: Gateway, owner: Owner, run_id: str, other_id: str) -> TrustReport:
    """How far the run of a small model ranks its rows as the other, of a large one, does; beside answer length.

    Both are completed, of one dataset and one method, and small: `POST /trust` makes such a pair.
    """
    return report(gateway, run_id, other_id, owner=owner)


def _ready_dataset(resources: Resources, received: Received[TrustOptions], owner: str) -> Dataset:
    """The dataset to draw from. One that is sent along is kept, and read by a worker, whatever becomes of the rest."""
    with resources.database.transaction() as connection:
        dataset, wakeups = named_dataset(
            connection, received, owner=owner, settings=resources.settings
        )
    resources.publisher.publish(wakeups)
    require_ready(dataset)
    return dataset


def _sampled_dataset(
    connection: Connection, resources: Resources, dataset: Dataset, upload: Upload | None
) -> tuple[Dataset, list[Wakeup]]:
    if upload is None:
        return dataset, []
    return datasets.create_dataset(
        connection,
        owner=dataset.owner,
        dataset_id=upload.id,
        name=upload.filename,
        sha256=upload.sha256,
        size_bytes=upload.size_bytes,
        requested_format=container_of(dataset),
        kept=False,
        settings=resources.settings,
    )
