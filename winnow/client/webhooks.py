"""Webhooks: what signs messages to your receivers, and what became of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from winnow.client.connection import Connection, idempotency_key


class Webhooks(Connection):
    """`/webhooks`. A receiver is named as `webhook_url=` of `score` and `fine_tune`."""

    def rotate_webhook_secret(self) -> str:
        """Make a new secret, `whsec_...`; it can't be had again. The one before it signs for a day more."""
        made = self._json("POST", "/webhooks/secret/rotate", headers=idempotency_key())
        secret: str = made["secret"]
        return secret

    def webhook_deliveries(
        self, *, subject: str | None = None, status: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Messages of the last 30 days, the newest first, each with its attempts; `subject` is a run or a job."""
        return self._pages("/webhooks/deliveries", key="id", subject=subject, status=status)

    def replay_webhook_delivery(self, delivery_id: str) -> dict[str, Any]:
        """Send a message again, now."""
        return self._json("POST", f"/webhooks/deliveries/{delivery_id}/replay")

    def webhook_endpoints(self) -> Iterator[dict[str, Any]]:
        """Your receivers, the newest first, and which of them are disabled."""
        return self._pages("/webhooks/endpoints", key="id")

    def enable_webhook_endpoint(self, endpoint_id: str) -> dict[str, Any]:
        """Send messages to a disabled receiver again."""
        return self._json("POST", f"/webhooks/endpoints/{endpoint_id}/enable")
