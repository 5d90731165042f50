"""Fixtures that every folder of tests may use: a migrated Postgres, a Redis, files, settings that name them."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import structlog

from tests import servers
from winnow.settings import Settings
from winnow.store import migrate
from winnow.store.blobs import Blobs
from winnow.store.keys import create_key
from winnow.store.session import Database
from winnow.store.tables import metadata


def pytest_configure() -> None:
    """Where a script runs the suite in the background, its processes would inherit that they ignore an interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the shell that runs the tests configure no test."""
    for name in list(os.environ):
        if name.startswith("WINNOW_") and not name.startswith("WINNOW_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A command that a test runs in this process sets up logging, for an output that ends with the test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A Postgres server, for tests that create databases themselves."""
    with servers.postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def redis_number() -> Iterator[str]:
    """A Redis number that belongs to this session."""
    with servers.redis_server() as server, servers.own_number(server) as url:
        yield url


@pytest.fixture(scope="session")
def database_url(postgres_url: str) -> Iterator[str]:
    """A database with the schema that the migrations make."""
    with servers.own_database(postgres_url) as url:
        migrate.upgrade(url)
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The database of the session, empty."""
    database = Database(database_url)
    with database.transaction() as connection:
        # Cheaper than TRUNCATE, which makes new files for every table.
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    yield database
    database.dispose()


@pytest.fixture
def broker_url(redis_number: str) -> str:
    """The Redis number of the session, empty."""
    with redis.Redis.from_url(redis_number) as client:
        client.flushdb()
    return redis_number


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """An empty folder for an embedded Postgres, or for a service that starts one.

    Not `tmp_path`: a pytest that starts beside this one closes that to all but its owner, and the Postgres of root is
    someone else's.
    """
    with tempfile.TemporaryDirectory(prefix="winnow-") as folder:
        yield Path(folder)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """An empty blob store."""
    return Blobs((tmp_path / "blobs").as_uri())


@pytest.fixture
def settings(database: Database, broker_url: str, blobs: Blobs, tmp_path: Path) -> Settings:
    """A service on the database, the Redis and the files of this test."""
    return Settings(
        data_dir=tmp_path / "data",
        database_url=database.url,
        broker_url=broker_url,
        blob_url=blobs.url,
    )


@pytest.fixture
def make_key(database: Database) -> Callable[[str], str]:
    """Makes an API key for an owner."""

    def make(owner: str) -> str:
        with database.transaction() as connection:
            return create_key(connection, owner=owner)

    return make
