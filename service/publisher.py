"""Wakes workers after a commit: a Celery application that only sends.

A broker that is away costs half a second and a log line. The rows are committed, so the sweeper sends the messages
again; a request never fails for want of a broker.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from winnow.messages import RUN_WORK, Wakeup
from winnow.settings import Settings

log = structlog.get_logger(__name__)

BROKER_AWAY = (KombuError, RedisError, OSError)
RETRY_POLICY = {"max_retries": 2, "interval_start": 0.05, "interval_step": 0.2, "interval_max": 0.3}


class Publisher:
    """Sends wake-ups to the broker of the installation; safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._celery = Celery("winnow-gateway", broker=settings.broker_url, set_as_current=False)
        self._celery.conf.update(
            broker_transport=settings.broker_transport,
            broker_transport_options=settings.broker_transport_options(),
            task_serializer="json",
            task_ignore_result=True,
        )

    def publish(self, wakeups: Sequence[Wakeup]) -> None:
        """Send each wake-up; the first failure ends the attempt, for the broker is then away for the others too."""
        try:
            for wakeup in wakeups:
                self._celery.send_task(
                    RUN_WORK,
                    args=[wakeup.work_id],
                    queue=wakeup.queue,
                    retry_policy=RETRY_POLICY,
                    ignore_result=True,
                )
        except BROKER_AWAY as error:
            log.warning("publish.failed", num_wakeups=len(wakeups), error=str(error))

    def close(self) -> None:
        """Give the connections back."""
        self._celery.close()
