"""The `webhooks` section of the OpenAPI document: what a receiver is sent, and what it should answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Header

from service.webhooks.schemas import FineTuneMessage, RunMessage
from winnow.webhooks.message import TYPES

_Id = Annotated[
    str, Header(alias="webhook-id", description="The same for every attempt at a message.")
]
_Timestamp = Annotated[
    int, Header(alias="webhook-timestamp", description="Unix seconds, of the attempt.")
]
_Signature = Annotated[
    str,
    Header(
        alias="webhook-signature",
        description="`v1,` and the base64 of the HMAC-SHA256 of `id.timestamp.body`; one for each valid secret, "
        "separated by spaces.",
    ),
]


def _told_of_run(
    message: RunMessage, webhook_id: _Id, webhook_timestamp: _Timestamp, signature: _Signature
) -> None:
    """A run with a `webhook_url` is over. Answer 2xx within the time limit; anything else is tried again, but 410."""


def _told_of_fine_tune(
    message: FineTuneMessage, webhook_id: _Id, webhook_timestamp: _Timestamp, signature: _Signature
) -> None:
    """A fine-tuning job with a `webhook_url` is over. Answer 2xx; anything else is tried again, but 410."""


router = APIRouter()
for _type in TYPES:
    _told: Callable[..., None] = _told_of_run if _type.startswith("run.") else _told_of_fine_tune
    router.add_api_route(
        _type,
        _told,
        methods=["POST"],
        operation_id=_type.replace(".", "_"),
        tags=["webhooks"],
        status_code=204,
        response_description="Taken; any other 2xx will do.",
        responses={
            "3XX": {"description": "Not followed: tried again later."},
            "4XX": {"description": "Tried again later, but for 410: nothing more is sent here."},
            "5XX": {"description": "Tried again later; Retry-After is kept to."},
        },
    )
