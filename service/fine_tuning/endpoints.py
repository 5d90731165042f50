"""`/v1/fine_tuning/jobs`: from a subset to a model; what `openai.fine_tuning.jobs` talks to."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from service.auth import Owner
from service.body import read_json
from service.events import STREAM_ANSWERS, LastEventId, stream_response, wants_stream
from service.fine_tuning.events import look, number_of
from service.fine_tuning.schemas import (
    CheckpointView,
    CreateFineTune,
    FineTuneEventView,
    FineTuneView,
)
from service.fine_tuning.training_file import check_training_file
from service.idempotency import Created, IdempotencyKey, create_once
from service.openapi import FINE_TUNE_BODY, accepts
from service.pages import After, Limit, List, LongLimit
from service.proxies import check_allowed
from service.resources import Gateway
from service.webhooks.receiver import receiver
from winnow.errors import InvalidOption
from winnow.store import fine_tunes
from winnow.store.events import list_latest_events
from winnow.store.session import Connection

router = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["fine-tuning"])

_METADATA = re.compile(r"metadata\[(?P<key>.+)\]")


async def _asked(request: Request, owner: Owner) -> CreateFineTune:  # noqa: ARG001  (a key is wanted first)
    return await read_json(request, CreateFineTune)


@router.post(
    "",
    operation_id="create_fine_tune",
    response_model=FineTuneView,
    openapi_extra=accepts(FINE_TUNE_BODY),
)
def create(
    gateway: Gateway,
    owner: Owner,
    asked: Annotated[CreateFineTune, Depends(_asked)],
    key: IdempotencyKey = None,
) -> Response:
    """Train a model on a file or on a subset of a scored dataset. The answer comes before the work is done.

    Follow the job until `status` is `succeeded`; its `result_files` are then files to download, and
    `fine_tuned_model` can be named as `model` in `POST /score`. 409 `scores_not_ready` while the run of a subset works.
    """
    spec = asked.spec()
    check_allowed(spec.model, gateway.settings)
    check_training_file(gateway, asked.training_file, owner=owner)
    webhook_url = receiver(asked.winnow.webhook_url, gateway.settings)

    def start(connection: Connection) -> Created:
        job, wakeups = fine_tunes.create_fine_tune(
            connection,
            owner=owner,
            spec=spec,
            training_file=asked.training_file,
            validation_file=asked.validation_file,
            metadata=asked.metadata,
            webhook_url=webhook_url,
            settings=gateway.settings,
        )
        return Created(
            body=_view(connection, job),
            status=200,
            headers={"Location": f"{router.prefix}/{job.id}"},
            wakeups=wakeups,
        )

    request = {"route": f"POST {router.prefix}", "asked": asked.model_dump(mode="json")}
    return create_once(gateway, start, owner=owner, key=key, fingerprint=request)


@router.get("", operation_id="list_fine_tunes")
def list_jobs(
    request: Request, gateway: Gateway, owner: Owner, after: After = None, limit: Limit = 20
) -> List[FineTuneView]:
    """Your jobs, the newest first; `metadata[key]=value` leaves out those without it."""
    with gateway.database.transaction() as connection:
        page = fine_tunes.list_fine_tunes(
            connection, owner=owner, after=after, limit=limit, metadata=_metadata(request)
        )
        views = [_view(connection, job) for job in page.items]
    return List(data=views, has_more=page.has_more)


@router.get("/{job_id}", operation_id="get_fine_tune")
def get(gateway: Gateway, owner: Owner, job_id: str) -> FineTuneView:
    """One job: its status, how far it is and when it will end, what it waits for, and what it left."""
    with gateway.database.transaction() as connection:
        job = fine_tunes.get_fine_tune(connection, owner=owner, fine_tune_id=job_id)
        return _view(connection, job)


@router.post("/{job_id}/cancel", operation_id="cancel_fine_tune")
def cancel(gateway: Gateway, owner: Owner, job_id: str) -> FineTuneView:
    """End a job for good. Doing it twice changes nothing."""
    with gateway.database.transaction() as connection:
        job, wakeups = fine_tunes.cancel_fine_tune(connection, owner=owner, fine_tune_id=job_id)
        view = _view(connection, job)
    gateway.publisher.publish(wakeups)
    return view


@router.post("/{job_id}/pause", operation_id="pause_fine_tune")
def pause(gateway: Gateway, owner: Owner, job_id: str) -> FineTuneView:
    """Stop a job at a checkpoint and give its worker to others, until it is resumed."""
    with gateway.database.transaction() as connection:
        job, wakeups = fine_tunes.pause_fine_tune(connection, owner=owner, fine_tune_id=job_id)
        view = _view(connection, job)
    gateway.publisher.publish(wakeups)
    return view


@router.post("/{job_id}/resume", operation_id="resume_fine_tune")
def resume(gateway: Gateway, owner: Owner, job_id: str) -> FineTuneView:
    """Go on with a job that was paused, from its last checkpoint."""
    with gateway.database.transaction() as connection:
        job, wakeups = fine_tunes.resume_fine_tune(connection, owner=owner, fine_tune_id=job_id)
        view = _view(connection, job)
    gateway.publisher.publish(wakeups)
    return view


@router.get(
    "/{job_id}/events",
    operation_id="list_fine_tune_events",
    response_model=List[FineTuneEventView],
    responses=STREAM_ANSWERS,
)
def events(
    request: Request,
    gateway: Gateway,
    owner: Owner,
    job_id: str,
    after: After = None,
    limit: LongLimit = 20,
    last_event_id: LastEventId = None,
) -> List[FineTuneEventView] | Response:
    """What happened to a job, the newest first. With `Accept: text/event-stream` as it happens, until the job ends."""
    number = None if after is None else number_of(after, job_id=job_id)
    view = partial(FineTuneEventView.of, job_id=job_id)
    if wants_stream(request):
        return stream_response(
            partial(look, gateway, owner, job_id),
            view,
            after=number or 0,
            last_event_id=last_event_id,
        )
    with gateway.database.transaction() as connection:
        page = list_latest_events(
            connection, owner=owner, subject=job_id, before_seq=number, limit=limit
        )
    return List(data=[view(event) for event in page.items], has_more=page.has_more)


@router.get("/{job_id}/checkpoints", operation_id="list_fine_tune_checkpoints")
def checkpoints(
    gateway: Gateway, owner: Owner, job_id: str, after: After = None, limit: Limit = 10
) -> List[CheckpointView]:
    """The checkpoints that a job keeps, the newest first."""
    with gateway.database.transaction() as connection:
        page = fine_tunes.list_checkpoints(
            connection, owner=owner, fine_tune_id=job_id, after=after, limit=limit
        )
    return List(data=[CheckpointView.of(item) for item in page.items], has_more=page.has_more)


def _view(connection: Connection, job: fine_tunes.FineTune) -> FineTuneView:
    return FineTuneView.of(job, waits_for=fine_tunes.waits_for(connection, job))


def _metadata(request: Request) -> dict[str, str] | None:
    """The filter that OpenAI's client writes as `metadata[key]=value`.

    Raises:
        InvalidOption: it is written in another way, and would otherwise filter nothing.
    """
    found = {}
    for name, value in request.query_params.items():
        if match := _METADATA.fullmatch(name):
            found[match["key"]] = value
        elif name.startswith("metadata"):
            raise InvalidOption("Write the filter as metadata[key]=value.", param="metadata")
    return found or None
