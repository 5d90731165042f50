"""The connection pool heals by itself."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from winnow.store.session import Database


def test_connection_that_the_server_closed_is_replaced(database: Database) -> None:
    with database.transaction() as conn:
        pid = conn.scalar(text("SELECT pg_backend_pid()"))
    other = Database(database.url)
    with other.transaction() as conn:
        conn.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    other.dispose()
    database.ping()
    with database.transaction() as conn:
        assert conn.scalar(text("SELECT pg_backend_pid()")) != pid


def test_ping_fails_when_nobody_answers() -> None:
    nobody = Database("postgresql+psycopg://postgres@127.0.0.1:1/none")
    with pytest.raises(OperationalError):
        nobody.ping()
