"""Migrations make exactly the schema of `tables.py`, both ways, and one starter at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, NullPool, bindparam, create_engine, text
from sqlalchemy.dialects.postgresql import JSONB

from tests import servers
from winnow.spec import RunSpec
from winnow.store import migrate
from winnow.store.runs import load_run
from winnow.store.tables import metadata

_DEFINITIONS = """
    SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
      AND conrelid::regclass::text <> 'alembic_version'
    UNION ALL
    SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""


_BEFORE_TRAJECTORIES = (
    (
        "INSERT INTO dataset (id, owner, sha256, size_bytes, requested_format, status) "
        "VALUES ('ds_1', 'ann', 'a', 1, 'auto', 'ready')"
    ),
    (
        "INSERT INTO run (id, owner, dataset_id, method, spec, status, blocks_per_unit, units_in_flight, max_attempts) "
        "VALUES ('run_1', 'ann', 'ds_1', 'ifd', '{}', 'scoring', 1, 1, 3)"
    ),
    "INSERT INTO score (run_id, row, score) VALUES ('run_1', 0, 0.5)",
    (
        "INSERT INTO fine_tune (id, owner, spec, training_file, max_attempts) "
        "VALUES ('ftjob-1', 'ann', '{}', 'file-1', 3)"
    ),
    (
        "INSERT INTO work (kind, subject, run_id, queue, max_attempts) "
        "VALUES ('score', 'run_1', 'run_1', 'io', 3)"
    ),
)


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


def test_data_from_before_trajectories_is_kept(empty_url: str) -> None:
    migrate.upgrade(empty_url, "0003")
    with _connected(empty_url) as conn:
        for statement in _BEFORE_TRAJECTORIES:
            conn.execute(text(statement))
        conn.commit()
        before = _contents(conn)
    migrate.upgrade(empty_url)
    with _connected(empty_url) as conn:
        after = _contents(conn)
        for name, rows in before.items():
            kept = [{column: row[column] for column in rows[0]} for row in after[name]]
            assert kept == rows
        conn.execute(text("UPDATE run SET status = 'training'"))
        conn.commit()
    migrate.downgrade(empty_url, "0003")
    with _connected(empty_url) as conn:
        statuses = conn.scalars(text("SELECT status FROM run")).all()
    assert statuses == ["cancelled"]


def test_a_database_that_was_brought_to_0004_earlier_goes_on(empty_url: str) -> None:
    migrate.upgrade(empty_url, "0004")
    with _connected(empty_url) as conn:
        for statement in _BEFORE_TRAJECTORIES:
            conn.execute(text(statement))
        spec = bindparam("spec", RunSpec.make().as_dict(), JSONB)
        conn.execute(text("UPDATE run SET spec = :spec").bindparams(spec))
        conn.execute(
            text("INSERT INTO selection (run_id, key, request) VALUES ('run_1', 'k', '{}')")
        )
        conn.commit()
    migrate.upgrade(empty_url)
    with _connected(empty_url) as conn:
        run = load_run(conn, "run_1")
        assert (run.id, run.is_sample, run.webhook_url) == ("run_1", False, None)
        assert conn.scalars(text("SELECT blob FROM selection")).all() == [None]


def test_four_starters_at_once_migrate_once(empty_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate.upgrade, [empty_url] * 4))
    assert not migrate.pending(empty_url)


def _connected(url: str) -> Connection:
    return create_engine(url, poolclass=NullPool).connect()


def _contents(conn: Connection) -> dict[str, list[dict[str, Any]]]:
    names = ("dataset", "run", "score", "fine_tune", "work")
    rows = {name: conn.execute(text(f"SELECT * FROM {name}")).mappings() for name in names}  # noqa: S608
    return {name: [dict(row) for row in found] for name, found in rows.items()}


def _definitions(conn: Connection) -> set[str]:
    return set(conn.scalars(text(_DEFINITIONS)))
