"""`POST /score`: the one call that starts everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from service.auth import Owner
from service.idempotency import Created, IdempotencyKey, create_once
from service.openapi import SCORE_BODY, accepts
from service.proxies import check_embedder, check_scorable, local_revision
from service.resources import Gateway
from service.runs.schemas import RunView
from service.score.checkpoints import find_checkpoints
from service.score.dataset import named_dataset
from service.score.schemas import ScoreOptions
from service.uploads import Received, receive
from service.webhooks.receiver import receiver
from winnow.store import runs
from winnow.store.session import Connection

router = APIRouter(tags=["score"])


async def _received(
    request: Request, gateway: Gateway, owner: Owner, query: Annotated[ScoreOptions, Query()]
) -> AsyncIterator[Received[ScoreOptions]]:
    async with receive(request, gateway, owner=owner, query=query) as received:
        yield received


@router.post(
    "/score",
    operation_id="score",
    status_code=202,
    response_model=RunView,
    openapi_extra=accepts(SCORE_BODY),
)
def score(
    gateway: Gateway,
    owner: Owner,
    received: Annotated[Received[ScoreOptions], Depends(_received, scope="function")],
    key: IdempotencyKey = None,
) -> Response:
    """Score a dataset: sent along in any format and under any Content-Type, or named as `dataset`. Always a new run.

    The answer comes before the work is done: follow `Location` until `status` is `completed`, then read `/subsets`; or,
    with `dry_run`, the run's `estimate`.
    """
    asked = received.options.spec(gateway.settings)
    check_scorable(asked.model, gateway, owner=owner)
    check_embedder(asked.embeddings, gateway.settings)
    spec, checkpoints = find_checkpoints(
        asked, gateway.settings, given_epochs=received.options.n_epochs
    )
    revision = local_revision(spec.model)
    webhook_url = receiver(received.options.webhook_url, gateway.settings)

    def start(connection: Connection) -> Created:
        dataset, reading = named_dataset(
            connection,
            received,
            owner=owner,
            kept=not received.options.dry_run,
            settings=gateway.settings,
        )
        run, scoring = runs.create_run(
            connection,
            owner=owner,
            dataset_id=dataset.id,
            spec=spec,
            revision=revision,
            name=received.options.name,
            dry_run=received.options.dry_run,
            checkpoints=checkpoints,
            webhook_url=webhook_url,
            settings=gateway.settings,
        )
        return Created(
            body=RunView.of(run, waits_for=runs.waits_for(connection, run)),
            status=202,
            headers={"Location": f"/runs/{run.id}", "Retry-After": "1"},
            wakeups=[*reading, *scoring],
        )

    request = {"route": "POST /score", **received.fingerprint()}
    return create_once(gateway, start, owner=owner, key=key, fingerprint=request)
