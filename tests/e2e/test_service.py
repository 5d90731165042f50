"""A service of several processes on Postgres and Redis gives the command line's bytes, to those who have a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import servers
from tests.e2e.conftest import NUM_ROWS, Expected
from tests.e2e.processes import TINY, command, environment, running
from winnow.client import Client
from winnow.errors import NotAuthenticated, NotFound
from winnow.settings import Settings
from winnow.store.session import Database
from winnow.store.workers_registry import live_workers


@pytest.fixture
def url(settings: Settings, tmp_path: Path) -> Iterator[str]:
    """A gateway, two workers and a sweeper, each a process of its own."""
    env = servers.service_env(settings) | {"WINNOW_MODELS": str(TINY)}
    with ExitStack() as stack:
        for name, arguments in (
            ("worker-1", ("worker", "--queues", "io,score", "--threads", "1")),
            ("worker-2", ("worker", "--queues", "score", "--threads", "1")),
            ("sweeper", ("sweep",)),
        ):
            log = tmp_path / f"{name}.log"
            stack.enter_context(running(*arguments, env=env, log=log, cwd=tmp_path))
        gateway = stack.enter_context(
            running(
                *("serve", "--gateway-only", "--port", "0"),
                env=env,
                log=tmp_path / "gateway.log",
                cwd=tmp_path,
            )
        )
        yield gateway.url()


def test_workers_share_a_run_and_give_the_same_bytes(
    url: str,
    settings: Settings,
    database: Database,
    dataset: Path,
    expected: Expected,
    tmp_path: Path,
) -> None:
    key = command(
        "keys", "create", "--owner", "ann", cwd=tmp_path, env=servers.service_env(settings)
    )
    with Client(url, key.strip()) as ann:
        run = ann.wait(ann.score(dataset), timeout_s=90)
        assert run.counts.rows_scored == NUM_ROWS
        assert b"".join(ann.subset(ratio=0.1)) == expected.subset
        with database.transaction() as connection:
            assert len(live_workers(connection)) == 2


def test_without_a_key_nothing_is_told_and_other_owners_see_nothing(
    url: str, make_key: Callable[[str], str]
) -> None:
    record = {"instruction": "Say hi.", "output": "Hi to you and to everyone else."}
    with Client(url, make_key("ann")) as ann, Client(url, make_key("bob")) as bob:
        run = ann.score([record])
        with pytest.raises(NotFound):
            bob.run(run.id)
        assert list(bob.runs()) == []
        assert [each.id for each in ann.runs()] == [run.id]
    for key in (None, "winnow_sk_guessed"):
        with Client(url, key) as stranger, pytest.raises(NotAuthenticated):
            stranger.score([record])


def test_a_gateway_does_not_start_on_a_database_without_migrations(
    settings: Settings, postgres_url: str
) -> None:
    import subprocess
    import sys

    with servers.own_database(postgres_url) as bare:
        env = servers.service_env(settings) | {"WINNOW_DATABASE_URL": bare}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "cli", "serve", "--gateway-only", "--port", "0"],
            env=environment(env),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    assert done.returncode == 2
    assert "winnow db upgrade" in done.stderr
