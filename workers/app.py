"""Celery as Winnow uses it: a carrier of wake-ups, with every setting of consequence and its reason.

The database decides what is done, by whom and how often (`winnow.store.work`). Celery therefore keeps no results,
counts no retries and promises no delivery: losing a message costs seconds, getting one twice costs a query.
"""

from __future__ import annotations

from typing import Any

from celery import Celery

from winnow.messages import QUEUE_IO
from winnow.settings import Settings


def make_app(settings: Settings) -> Celery:
    """A Celery application for those who publish and for those who work. Nothing connects until it is used."""
    app = Celery("winnow", set_as_current=False)
    app.conf.update(_settings(settings))
    return app


def _settings(settings: Settings) -> dict[str, Any]:
    transport = settings.broker_transport_options()
    return {
        **_broker(settings, transport),
        **_visibility(transport),
        **_TASK,
        **_WORKER,
    }


def _broker(settings: Settings, transport: dict[str, Any]) -> dict[str, Any]:
    return {
        "broker_url": settings.broker_url,
        # A folder as broker goes through our own transport, which never shows a half-written message.
        "broker_transport": settings.broker_transport,
        "broker_transport_options": transport,
        # A broker that is away, at the start or later, is waited for; it is never a reason to die.
        "broker_connection_retry_on_startup": True,
        "broker_connection_retry": True,
        "broker_connection_max_retries": None,
        # A unit in progress holds its lease in the database: losing the broker does not concern it.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    }


def _visibility(transport: dict[str, Any]) -> dict[str, Any]:
    """Redis hands an unacknowledged message out again after this time; Celery reads it in three places."""
    timeout_s = transport.get("visibility_timeout")
    if timeout_s is None:
        return {}
    return {
        "visibility_timeout": timeout_s,
        "result_backend_transport_options": {"visibility_timeout": timeout_s},
    }


_TASK: dict[str, Any] = {
    # A worker that dies has not acknowledged, so its message comes back; the lease decides who may work on it.
    "task_acks_late": True,
    # A unit that kills its worker must not come back at once, in a hot loop: the lease runs out, the sweeper
    # publishes it again, and the attempts of the database end it.
    "task_reject_on_worker_lost": False,
    "task_retry_on_worker_lost": False,
    # Failures are written down in the database; for Celery a message is done once it was looked at.
    "task_acks_on_failure": True,
    "task_acks_on_timeout": True,
    # State lives in Postgres: no results, no "started", no events.
    "task_ignore_result": True,
    "task_store_errors_even_if_ignored": False,
    "task_track_started": False,
    "task_send_sent_event": False,
    # Arguments are one integer; nothing but JSON is ever decoded, so a message cannot carry code.
    "task_serializer": "json",
    "result_serializer": "json",
    "event_serializer": "json",
    "accept_content": ["json"],
    # A wake-up for no queue in particular is small work.
    "task_default_queue": QUEUE_IO,
    # Queues are named after offers (engine, dtype, model), which only the database knows in full.
    "task_create_missing_queues": True,
    # One quick second try covers a connection that went stale; beyond that the sweeper publishes.
    "task_publish_retry": True,
    "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0},
    # A unit of scoring has no time limit: it renews its lease, or it loses it.
    "task_time_limit": None,
    "task_soft_time_limit": None,
}

_WORKER: dict[str, Any] = {
    # One process, one unit at a time, in the main thread: CUDA cannot be used in a forked child, and the engine's
    # own threads use the cores. More workers are more processes.
    "worker_pool": "solo",
    "worker_concurrency": 1,
    # No message waits in a worker that is busy while another one is idle.
    "worker_prefetch_multiplier": 1,
    # Lowering the prefetch after a reconnect is for prefetches above 1.
    "worker_enable_prefetch_count_reduction": False,
    # SIGTERM gives the unit back at the next batch (`workers.unit`), so there is nothing to wait for afterwards; in a
    # solo pool the wait would block the very unit that it waits for.
    "worker_soft_shutdown_timeout": 0.0,
    "worker_enable_soft_shutdown_on_idle": False,
    # The worker table in the database says who lives; a busy solo worker could not answer remote control anyway.
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    # Logging belongs to the process, which may also be a test or the gateway's parent.
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
}
