"""The sweeper: every few seconds it finds what fell between the database and the broker, and publishes it again.

What it looks for stands in `winnow.store.sweep`. Several sweepers do no harm; without one, lost messages stay lost.
"""

from __future__ import annotations

import threading
from collections import Counter

import structlog

from winnow.messages import Publish
from winnow.settings import Settings
from winnow.store.session import Database
from winnow.store.sweep import STEPS
from workers.app import make_app
from workers.policy import DATABASE_AWAY
from workers.publisher import make_publisher

log = structlog.get_logger()


def sweep_once(database: Database, settings: Settings, publish: Publish) -> Counter[str]:
    """Heal what can be healed now, and publish what came of each step after its commit; how often what was healed.

    A step that fails holds up none of the others.

    Raises:
        DATABASE_AWAY: the database did not answer.
    """
    counts: Counter[str] = Counter()
    for name, step in STEPS:
        try:
            with database.transaction() as connection:
                swept = step(connection, settings)
        except DATABASE_AWAY:
            raise
        except Exception:
            # Healing must not end for one row that nobody foresaw: the next sweep tries again.
            log.exception("nothing swept", step=name)
            continue
        publish(swept.wakeups)
        counts[name] += swept.count
    if counts.total():
        log.info("swept", **{name: count for name, count in counts.items() if count})
    return counts


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
    finally:
        database.dispose()
