"""`winnow db` and `winnow keys` on a real Postgres."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests import servers
from tests.cli.conftest import Result
from winnow.store.keys import authenticate
from winnow.store.session import Database
from winnow.store.workers_registry import heartbeat


def test_upgrade_makes_the_schema_and_check_says_whether_it_is_there(
    winnow: Callable[..., Result], postgres_url: str
) -> None:
    with servers.own_database(postgres_url) as url:
        before = winnow("db", "check", "--database-url", url)
        assert (before.code, before.out) == (1, "migrations are missing: winnow db upgrade\n")
        keys = winnow("keys", "list", "--database-url", url)
        assert keys.code == 2
        assert "winnow db upgrade" in keys.error_lines[0]
        for _ in range(2):
            assert winnow("db", "upgrade", "--database-url", url).code == 0
        assert winnow("db", "check", "--database-url", url).code == 0


def test_a_key_is_shown_once_and_works_until_it_is_revoked(
    winnow: Callable[..., Result], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_DATABASE_URL", database.url)

    def owner_of(key: str) -> str | None:
        with database.transaction() as connection:
            return authenticate(connection, key)

    key = winnow("keys", "create", "--owner", "ann").out.strip()
    winnow("keys", "create", "--owner", "bob")
    assert owner_of(key) == "ann"
    listed = winnow("keys", "list", "--owner", "ann").out
    assert len(listed.splitlines()) == 1
    assert "ann" in listed
    assert key not in listed
    assert winnow("keys", "revoke", listed.split()[0]).code == 0
    assert owner_of(key) is None
    assert "revoked" in winnow("keys", "list").out


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://host/name", "cannot be read"),
        ("postgresql+psycopg://127.0.0.1:9/x", "does not answer"),
    ],
)
@pytest.mark.parametrize("command", [("db", "upgrade"), ("keys", "list")])
def test_a_database_that_cannot_be_used_is_one_line(
    winnow: Callable[..., Result], command: tuple[str, ...], url: str, told: str
) -> None:
    done = winnow(*command, "--database-url", url)
    assert done.code == 2
    assert told in done.error_lines[0]


def test_a_host_is_healthy_while_a_worker_of_it_shows_itself(
    winnow: Callable[..., Result], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_DATABASE_URL", database.url)
    for host, code in (("elsewhere", 1), (socket.gethostname(), 0)):
        with database.transaction() as connection:
            heartbeat(connection, worker_id=f"{host}:17:ab", queues=["io"])
        assert winnow("worker-health").code == code
