"""Deliver: one attempt at handing a message to its receiver, and what follows from the answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from winnow.settings import Settings
from winnow.store.deliveries import Outgoing, Verdict, load_outgoing, settle_attempt
from winnow.store.session import Database
from winnow.store.webhooks import Attempt
from winnow.store.work import Claim
from winnow.webhooks.schedule import pause_s
from winnow.webhooks.sending import Answer, send
from workers.lease import Lease
from workers.policy import ReceiverBusy
from workers.unit import Finish

AT_ONCE = 8
"""Messages that a worker sends at a time, beside its other work."""

AT_ONCE_PER_RECEIVER = 4
"""So that one receiver that hangs does not hold up the messages to others."""

AT_ONCE_PER_OWNER = 2
"""So that an owner whose receivers all hang, each under a name of its own, does not hold up other owners."""

GONE = 410


class Receivers:
    """Counts how many messages are on their way to each host, and of each owner."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def on_the_way(self, owner: str, url: str) -> Iterator[None]:
        """Count one more while the context lasts.

        Raises:
            ReceiverBusy: enough are on their way already.
        """
        host = urlsplit(url).netloc
        limits = {("to", host): AT_ONCE_PER_RECEIVER, ("of", owner): AT_ONCE_PER_OWNER}
        with self._lock:
            for whose, limit in limits.items():
                if self._busy[whose] >= limit:
                    raise ReceiverBusy(f"{limit} messages are on their way {' '.join(whose)}")
            self._busy.update(limits.keys())
        try:
            yield
        finally:
            with self._lock:
                self._busy.subtract(limits.keys())
                self._busy += Counter()  # forgets whose count is 0


@dataclass(frozen=True, kw_only=True)
class DeliverHandler:
    """Sends messages as the settings say; safe to share between threads."""

    settings: Settings
    database: Database
    receivers: Receivers = field(default_factory=Receivers)

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:  # noqa: ARG002  (an attempt ends by itself)
        """Make one attempt.

        Raises:
            ReceiverBusy: other messages are on their way there, or of this owner.
        """
        with self.database.transaction() as connection:
            message = load_outgoing(connection, claimed.subject)
        answer = self._send(message)
        attempt = Attempt(
            at=answer.at,
            seconds=answer.seconds,
            status_code=answer.status_code,
            error=answer.error,
            detail=answer.detail,
        )
        verdict, retry_in_s = self._judge(answer, claimed.attempt)
        return partial(
            settle_attempt,
            claim=claimed,
            attempt=attempt,
            verdict=verdict,
            retry_in_s=retry_in_s,
        )

    def _send(self, message: Outgoing) -> Answer:
        if message.disabled:
            return Answer.none("endpoint_disabled", "Enable the endpoint and replay the delivery.")
        with self.receivers.on_the_way(message.owner, message.url):
            return send(
                message.url,
                message.id,
                message.body,
                secrets=message.secrets,
                opened=self.settings.opened_networks,
                timeout_s=self.settings.webhook_timeout_s,
            )

    def _judge(self, answer: Answer, attempt: int) -> tuple[Verdict, float]:
        if answer.accepted:
            return "delivered", 0.0
        if answer.status_code == GONE:
            return "gone", 0.0
        if answer.error in ("address_closed", "endpoint_disabled"):
            return "refused", 0.0
        pause = pause_s(
            attempt,
            self.settings.webhook_retries_s,
            status_code=answer.status_code,
            retry_after_s=answer.retry_after_s,
        )
        return ("exhausted", 0.0) if pause is None else ("retry", pause)
