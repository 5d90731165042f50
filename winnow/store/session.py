"""One connection pool, and the transaction in which everything happens.

A request or a step of work is one `transaction()`, committed where it ends. Store functions take its connection and
never commit. Wake-ups that they return are published after the commit, never inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, text

__all__ = ["Connection", "Database"]

_CONNECT = {
    # A host that vanished without a word is given up in half a minute, not after the kernel's quarter of an hour.
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}


class Database:
    """A pool of connections to one Postgres.

    Lost connections are noticed when they are checked out, so a restarted server heals by itself.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self._engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            connect_args=_CONNECT,
            # Parameters are rows of somebody's dataset; an error message must not carry them into a log.
            hide_parameters=True,
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection inside a transaction: committed at the end, rolled back on an exception."""
        with self._engine.begin() as connection:
            yield connection

    def ping(self) -> None:
        """Raise unless the server answers."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def dispose(self) -> None:
        """Close every connection."""
        self._engine.dispose()
