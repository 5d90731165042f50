"""`winnow worker-health`: whether a worker of this host is alive, for a container's health check."""

from __future__ import annotations

import socket

from cli.database import DatabaseUrl, usable

EXIT_UNHEALTHY = 1


def worker_health(database_url: DatabaseUrl) -> int:
    """Say whether a worker of this host has shown itself in the last half minute; exit code 1 if none has."""
    from winnow.store.session import Database
    from winnow.store.workers_registry import live_workers

    database = Database(database_url, pool_size=1)
    with usable(), database.transaction() as connection:
        here = [each.id for each in live_workers(connection) if each.id.startswith(_host())]
    database.dispose()
    print(f"{len(here)} live on {socket.gethostname()}")
    return 0 if here else EXIT_UNHEALTHY


def _host() -> str:
    return f"{socket.gethostname()}:"
