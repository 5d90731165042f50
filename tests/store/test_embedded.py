"""The embedded Postgres: it starts anywhere, keeps what it was given, and survives every kind of death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from winnow.errors import ConfigurationError
from winnow.store import migrate
from winnow.store.embedded import EmbeddedPostgres

Ask = Callable[[str, str], object]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A folder whose server is stopped between tests: making one takes a second or more."""
    with tempfile.TemporaryDirectory(prefix="winnow-") as folder:
        with EmbeddedPostgres(Path(folder)):
            pass
        yield Path(folder)


@pytest.fixture
def ask() -> Ask:
    def ask(url: str, statement: str) -> object:
        engine = create_engine(url, poolclass=NullPool)
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None

    return ask


def test_keeps_what_it_was_given_from_start_to_start(cluster: Path, ask: Ask) -> None:
    with EmbeddedPostgres(cluster) as first:
        migrate.upgrade(first.url)
        ask(first.url, "INSERT INTO worker (id, queues) VALUES ('w', '{io}')")
        first_url = first.url
    with EmbeddedPostgres(cluster) as second:
        assert second.url == first_url
        assert ask(second.url, "SELECT id FROM worker") == "w"


def test_stopped_server_leaves_no_process_and_has_no_url(cluster: Path) -> None:
    server = EmbeddedPostgres(cluster)
    with server:
        pid = _pid(cluster)
    assert not psutil.pid_exists(pid)
    with pytest.raises(ConfigurationError, match="No database runs"):
        _ = server.url


def test_starts_in_a_deep_folder_with_a_name_that_shells_break(
    server_folder: Path, ask: Ask
) -> None:
    folder = server_folder / 'it\'s my $HOME, "quoted" & 100 % deep' / ("d" * 100) / ("e" * 100)
    with EmbeddedPostgres(folder) as server:
        assert ask(server.url, "SELECT 1") == 1
        migrate.upgrade(server.url)


def test_listens_to_nobody_but_its_user(cluster: Path, ask: Ask) -> None:
    with EmbeddedPostgres(cluster) as server:
        assert ask(server.url, "SHOW listen_addresses") == ""
        socket = Path(str(ask(server.url, "SHOW unix_socket_directories")))
        assert socket.stat().st_mode & 0o077 == 0


def test_server_of_a_killed_starter_is_taken_over(cluster: Path, ask: Ask) -> None:
    program = (
        "import os, sys; from pathlib import Path; from winnow.store.embedded import EmbeddedPostgres\n"
        "EmbeddedPostgres(Path(sys.argv[1])).start(); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, cluster], check=False)
    assert ended.returncode == -signal.SIGKILL
    running = _pid(cluster)
    with EmbeddedPostgres(cluster) as server:
        assert ask(server.url, "SELECT 1") == 1
        assert _pid(cluster) == running
    assert not psutil.pid_exists(running)


def test_starts_again_after_the_server_was_killed_under_a_busy_session(
    cluster: Path, ask: Ask
) -> None:
    with EmbeddedPostgres(cluster) as server, ThreadPoolExecutor() as pool:
        ask(server.url, "CREATE TABLE kept AS SELECT 7 AS number")
        # It computes without looking up, so it outlives its server by a while.
        busy = pool.submit(ask, server.url, "SELECT count(*) FROM generate_series(1, 10000000)")
        while ask(server.url, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'") != 2:
            time.sleep(0.01)
        killed = psutil.Process(_pid(cluster))
        killed.kill()
        while killed.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        server.start()
        assert ask(server.url, "SELECT number FROM kept") == 7
        with suppress(OperationalError):
            busy.result()


def test_pid_file_that_names_another_process_is_not_believed(cluster: Path, ask: Ask) -> None:
    with EmbeddedPostgres(cluster):
        lines = _pid_file(cluster).read_text().splitlines()
    # A machine that restarted gives the number of the old server to anyone, to this test for instance.
    _pid_file(cluster).write_text("\n".join([str(os.getpid()), *lines[1:]]))
    with EmbeddedPostgres(cluster) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_half_made_cluster_is_made_again_and_one_that_does_not_start_shows_its_log(
    server_folder: Path, ask: Ask
) -> None:
    (server_folder / "postgres.new").mkdir()
    (server_folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(server_folder) as server:
        assert ask(server.url, "SELECT 1") == 1
    with (server_folder / "postgres" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(ConfigurationError, match="no_such_setting"):
        EmbeddedPostgres(server_folder).start()


def test_socket_folder_of_someone_else_is_refused(cluster: Path, ask: Ask) -> None:
    with EmbeddedPostgres(cluster) as server:
        socket = Path(str(ask(server.url, "SHOW unix_socket_directories")))
    socket.mkdir()
    socket.chmod(0o777)
    try:
        with pytest.raises(ConfigurationError, match="belongs to someone else"):
            EmbeddedPostgres(cluster).start()
    finally:
        socket.rmdir()


def _pid_file(folder: Path) -> Path:
    return folder / "postgres" / "postmaster.pid"


def _pid(folder: Path) -> int:
    return int(_pid_file(folder).read_text().splitlines()[0])
