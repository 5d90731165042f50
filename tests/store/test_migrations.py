"""Migrations make exactly the schema of `tables.py`, both ways, and one starter at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, NullPool, create_engine, text

from tests import servers
from winnow.store import migrate
from winnow.store.tables import metadata

_DEFINITIONS = """
    SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
      AND conrelid::regclass::text <> 'alembic_version'
    UNION ALL
    SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    with servers.own_database(postgres_url) as url:
        yield url


def test_migrated_database_differs_in_nothing_from_the_tables(empty_url: str) -> None:
    migrate.upgrade(empty_url)
    with _connected(empty_url) as conn:
        context = MigrationContext.configure(
            conn, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_constraints_and_partial_indexes_are_those_of_the_tables(
    empty_url: str, database_url: str
) -> None:
    with _connected(empty_url) as conn:
        metadata.create_all(conn)
        conn.commit()
        expected = _definitions(conn)
    with _connected(database_url) as conn:
        assert _definitions(conn) == expected


def test_downgrade_leaves_nothing_and_upgrade_goes_again(empty_url: str) -> None:
    for _ in range(2):
        assert migrate.pending(empty_url)
        migrate.upgrade(empty_url)
        assert not migrate.pending(empty_url)
        migrate.downgrade(empty_url, "base")
        with _connected(empty_url) as conn:
            tables = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            assert conn.scalars(tables).all() == ["alembic_version"]


def test_four_starters_at_once_migrate_once(empty_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate.upgrade, [empty_url] * 4))
    assert not migrate.pending(empty_url)


def _connected(url: str) -> Connection:
    return create_engine(url, poolclass=NullPool).connect()


def _definitions(conn: Connection) -> set[str]:
    return set(conn.scalars(text(_DEFINITIONS)))
