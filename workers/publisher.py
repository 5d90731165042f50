"""Sends wake-ups to the broker, and shrugs when it is away: the sweeper sends them again."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from winnow.messages import RUN_WORK, Publish, Wakeup

BROKER_AWAY = (KombuError, RedisError, OSError)

log = structlog.get_logger()


def make_publisher(app: Celery) -> Publish:
    """A function that publishes wake-ups through `app`; safe to call from several threads."""

    def publish(wakeups: Sequence[Wakeup]) -> None:
        for sent, wakeup in enumerate(wakeups):
            try:
                app.send_task(RUN_WORK, args=[wakeup.work_id], queue=wakeup.queue)
            except BROKER_AWAY as error:
                # The rest would wait for the same broker, one after the other.
                log.warning("broker away", unsent=len(wakeups) - sent, error=str(error))
                return

    return publish
