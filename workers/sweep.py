"""The sweeper: every few seconds it finds what fell between the database and the broker, and publishes it again.

What it looks for stands in `winnow.store.sweep`. Several sweepers do no harm; without one, lost messages stay lost.
"""

from __future__ import annotations

import threading

import structlog

from winnow.messages import Publish
from winnow.settings import Settings
from winnow.store.session import Database
from winnow.store.sweep import SweepResult, sweep
from workers.app import make_app
from workers.policy import DATABASE_AWAY
from workers.publisher import make_publisher

log = structlog.get_logger()


def sweep_once(database: Database, settings: Settings, publish: Publish) -> SweepResult:
    """Heal what can be healed now, and publish what came of it after the commit."""
    with database.transaction() as connection:
        result = sweep(connection, settings)
    publish(result.wakeups)
    if result.wakeups:
        log.info("swept", **result.counts)
    return result


def sweep_forever(settings: Settings, stop: threading.Event) -> None:
    """Sweep until `stop` is set. A database that is away is waited for."""
    database = Database(settings.database_url or "", pool_size=1)
    publish = make_publisher(make_app(settings))
    try:
        while not stop.wait(settings.sweep_interval_s):
            try:
                sweep_once(database, settings, publish)
            except DATABASE_AWAY as error:
                log.warning("nothing swept: database away", error=type(error).__name__)
            except Exception:
                # Healing must not end for one row that nobody foresaw: the next sweep tries again.
                log.exception("nothing swept")
    finally:
        database.dispose()
