"""`/webhooks`: the secret, the receivers and the messages of an owner. A receiver is named where a run is started."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.auth import Owner
from service.idempotency import Created, IdempotencyKey, create_once
from service.pages import After, Limit, List
from service.resources import Gateway
from service.webhooks.schemas import (
    DeliveryView,
    EndpointView,
    NewSecretView,
    SecretView,
    WholeDeliveryView,
)
from winnow.store import webhook_secrets, webhooks
from winnow.store.session import Connection

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


@router.get("/secret", operation_id="get_webhook_secret")
def get_secret(gateway: Gateway, owner: Owner) -> SecretView:
    """What signs your messages now: how the secrets begin, never a whole one. 404 before the first is made."""
    with gateway.database.transaction() as connection:
        return SecretView.of(webhook_secrets.secret_info(connection, owner=owner))


@router.post(
    "/secret/rotate",
    operation_id="rotate_webhook_secret",
    status_code=201,
    response_model=NewSecretView,
)
def rotate_secret(gateway: Gateway, owner: Owner, key: IdempotencyKey = None) -> Response:
    """Make a secret, the first or the next, and show it this once. The one before it signs for a day more.

    Send an Idempotency-Key: rotated twice, the secret that your receivers know is worth nothing at once. Do just that
    to a secret that leaked.
    """

    def rotate(connection: Connection) -> Created:
        secret = webhook_secrets.rotate_secret(connection, owner=owner)
        shown = SecretView.of(webhook_secrets.secret_info(connection, owner=owner))
        return Created(body=NewSecretView(secret=secret, **shown.model_dump()), status=201)

    request = {"route": "POST /webhooks/secret/rotate"}
    return create_once(gateway, rotate, owner=owner, key=key, fingerprint=request)


@router.get("/endpoints", operation_id="list_webhook_endpoints")
def list_endpoints(
    gateway: Gateway, owner: Owner, after: After = None, limit: Limit = 20
) -> List[EndpointView]:
    """Your receivers, the newest first, and which of them are disabled."""
    with gateway.database.transaction() as connection:
        page = webhooks.list_endpoints(connection, owner=owner, after=after, limit=limit)
    return List(data=[EndpointView.of(item) for item in page.items], has_more=page.has_more)


@router.post("/endpoints/{endpoint_id}/enable", operation_id="enable_webhook_endpoint")
def enable_endpoint(gateway: Gateway, owner: Owner, endpoint_id: str) -> EndpointView:
    """Send messages to a disabled receiver again. What it missed is sent when you replay it."""
    with gateway.database.transaction() as connection:
        return EndpointView.of(
            webhooks.enable_endpoint(connection, owner=owner, endpoint_id=endpoint_id)
        )


@router.get("/deliveries", operation_id="list_webhook_deliveries")
def list_deliveries(
    gateway: Gateway,
    owner: Owner,
    subject: Annotated[
        str | None, Query(max_length=64, description="Only those about this run or fine-tune.")
    ] = None,
    status: Annotated[webhooks.DeliveryStatus | None, Query()] = None,
    after: After = None,
    limit: Limit = 20,
) -> List[DeliveryView]:
    """Your messages of the last 30 days, the newest first, with every attempt and when the next one is due."""
    with gateway.database.transaction() as connection:
        page = webhooks.list_deliveries(
            connection, owner=owner, subject=subject, status=status, after=after, limit=limit
        )
    return List(data=[DeliveryView.of(item) for item in page.items], has_more=page.has_more)


@router.get("/deliveries/{delivery_id}", operation_id="get_webhook_delivery")
def get_delivery(gateway: Gateway, owner: Owner, delivery_id: str) -> WholeDeliveryView:
    """One message, with the bytes that are sent."""
    with gateway.database.transaction() as connection:
        return WholeDeliveryView.of(
            webhooks.get_delivery(connection, owner=owner, delivery_id=delivery_id)
        )


@router.post(
    "/deliveries/{delivery_id}/replay", operation_id="replay_webhook_delivery", status_code=202
)
def replay(gateway: Gateway, owner: Owner, delivery_id: str) -> DeliveryView:
    """Send a message again, now: the same id and bytes, with a new timestamp and signature.

    One that waits for its next attempt has it now. 409 while its receiver is disabled.
    """
    with gateway.database.transaction() as connection:
        delivery, wakeups = webhooks.replay(connection, owner=owner, delivery_id=delivery_id)
    gateway.publisher.publish(wakeups)
    return DeliveryView.of(delivery)
