"""`/label-studio/{run or model}/...`: what Label Studio calls of an ML backend, and where its webhooks go.

Before each batch of tasks it asks for `/health` and `/setup` and waits one and three seconds. Both answer at once
whatever workers, threads and database do: `/health` asks nobody, and what `/setup` checks it checks in `CHECK_S`, or
not at all. Unchecked it tells no more than the URL says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, TypeVar

import structlog
from anyio import fail_after, to_thread
from fastapi import APIRouter, BackgroundTasks, Depends, Request, Response

from service.auth import owner_of
from service.errors import DATABASE_AWAY
from service.label_studio.auth import Key, Owner
from service.label_studio.events import START_TRAINING, WebhookEvent, WebhookView, take
from service.label_studio.on_demand import predict_on_demand
from service.label_studio.schemas import (
    MAX_EVENT_BYTES,
    MAX_SETUP_BYTES,
    MAX_TASKS_BYTES,
    HealthView,
    PredictionsView,
    PredictRequest,
    SetupRequest,
    SetupView,
    VersionsView,
    parse,
    read_body,
)
from service.label_studio.stored import predict_stored, prepare
from service.label_studio.target import NamedTarget, Target
from service.openapi import accepts
from service.resources import Gateway, Resources
from winnow.errors import PredictionsNotReady
from winnow.labelling.label_config import LabelConfig

CHECK_S = 1.5
VERSION_S = 1.0
"""Together they leave Label Studio half a second of its three."""

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/label-studio/{target:path}", tags=["label studio"])

T = TypeVar("T")


async def _tasks(request: Request, _: Owner) -> bytes:
    return await read_body(request, max_bytes=MAX_TASKS_BYTES)


async def _event(request: Request, _: Owner) -> bytes:
    return await read_body(request, max_bytes=MAX_EVENT_BYTES)


def _json(kind: type[PredictRequest | SetupRequest | WebhookEvent]) -> dict[str, object]:
    return accepts({"application/json": {"schema": kind.model_json_schema()}})


@router.get("/health", operation_id="label_studio_health")
async def health(_: NamedTarget) -> HealthView:
    """Whether the backend is there; needs no key."""
    return HealthView()


@router.post("/setup", operation_id="label_studio_setup", openapi_extra=_json(SetupRequest))
async def setup(
    request: Request, target: NamedTarget, key: Key, background: BackgroundTasks
) -> SetupView:
    """What predictions are known by. Refuses a wrong key, somebody else's run and a configuration that is no XML."""
    resources: Resources = request.state.resources
    body = await read_body(request, max_bytes=MAX_SETUP_BYTES)
    try:
        owner = await _in_time(CHECK_S, partial(_check, resources, target, key, body))
    except (TimeoutError, *DATABASE_AWAY) as error:
        log.warning("label_studio.unchecked", target=target.name, error=type(error).__name__)
    else:
        if target.is_run:
            background.add_task(prepare, resources, target, owner=owner)
    return SetupView(model_version=await _version(target, resources))


@router.post("/predict", operation_id="label_studio_predict", openapi_extra=_json(PredictRequest))
def predict(
    gateway: Gateway, owner: Owner, target: NamedTarget, body: Annotated[bytes, Depends(_tasks)]
) -> PredictionsView:
    """A prediction for each task: of a run what is stored, of a model what it scores now.

    503 with `Retry-After` until all of them are there.
    """
    asked = parse(body, PredictRequest)
    make = predict_stored if target.is_run else predict_on_demand
    return PredictionsView(results=make(gateway, target, asked.tasks, asked.config(), owner=owner))


@router.get("/versions", operation_id="label_studio_versions")
def versions(gateway: Gateway, owner: Owner, target: NamedTarget) -> VersionsView:
    """The version of the predictions; there is one at a time."""
    target.check(gateway, owner=owner)
    return VersionsView(versions=[target.version(gateway.settings)])


@router.post("/webhook", operation_id="label_studio_webhook", openapi_extra=_json(WebhookEvent))
def webhook(
    gateway: Gateway,
    owner: Owner,
    target: NamedTarget,
    body: Annotated[bytes, Depends(_event)],
    response: Response,
) -> WebhookView:
    """What annotators changed: an answer that is another one now is scored as a small run with the target's options.

    Sending an event again changes nothing.
    """
    event = parse(body, WebhookEvent)
    if event.action == START_TRAINING:
        # As Label Studio's own backend answers.
        response.status_code = 201
    return take(gateway, target, event, owner=owner)


def _check(resources: Resources, target: Target, key: str | None, body: bytes) -> str:
    """Whose key it is, if target and configuration are as they should be."""
    owner = owner_of(resources, key)
    target.check(resources, owner=owner)
    config = parse(body, SetupRequest).label_config
    if config:
        LabelConfig.parse(config)
    return owner


async def _version(target: Target, resources: Resources) -> str:
    """What predictions are known by; files of a model that are large are hashed once, and longer than anybody waits."""
    if target.is_run:
        return target.version(resources.settings)
    try:
        return await _in_time(VERSION_S, partial(target.version, resources.settings))
    except TimeoutError:
        raise PredictionsNotReady(
            "The model's files are being read for the first time. Connect again after Retry-After seconds."
        ) from None


async def _in_time(limit_s: float, work: Callable[[], T]) -> T:
    """What `work` returns in a thread; a thread that hangs is left behind.

    Raises:
        TimeoutError: it took longer, or no thread was free.
    """
    with fail_after(limit_s):
        return await to_thread.run_sync(work, abandon_on_cancel=True)
