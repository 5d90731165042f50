"""Keeps this worker in the worker table, so that others know who lives and what it offers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from winnow.messages import Offer
from winnow.store.session import Database
from winnow.store.workers_registry import forget, heartbeat
from workers.policy import DATABASE_AWAY

HEARTBEAT_S = 5.0

log = structlog.get_logger()


@contextmanager
def present(
    database: Database, *, worker_id: str, queues: Sequence[str], offers: Sequence[Offer]
) -> Iterator[None]:
    """Listed while the body runs: a heartbeat every few seconds from a thread, gone at the end."""
    left = threading.Event()

    def beat() -> None:
        while True:
            try:
                with database.transaction() as connection:
                    heartbeat(connection, worker_id=worker_id, queues=queues, offers=offers)
            except DATABASE_AWAY as error:
                log.warning("no heartbeat: database away", error=type(error).__name__)
            except Exception:
                log.exception("no heartbeat")
            if left.wait(HEARTBEAT_S):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()
        _leave(database, worker_id)


def _leave(database: Database, worker_id: str) -> None:
    try:
        with database.transaction() as connection:
            forget(connection, worker_id=worker_id)
    except DATABASE_AWAY as error:
        # Its heartbeat grows old and it is no longer counted as live.
        log.warning("not signed off: database away", error=type(error).__name__)
