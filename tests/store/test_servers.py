"""The servers that tests run against: found or started, and nothing is left of what a session did."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from tests import servers
from winnow.settings import Settings


def ask(url: str, statement: str) -> object:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return connection.scalar(text(statement))


def test_without_servers_on_the_machine_own_ones_are_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("WINNOW_TEST_DATABASE_URL", "WINNOW_TEST_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WINNOW_TEST_OWN_SERVERS", "1")
    with servers.postgres_server() as server, servers.own_database(server) as url:
        assert ask(url, "SHOW listen_addresses") == ""
    with servers.redis_server() as server, servers.own_number(server) as url:
        assert ":6379/" not in url
        with redis.Redis.from_url(url) as client:
            assert client.ping()
    with redis.Redis.from_url(url) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_servers_that_are_named_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_TEST_DATABASE_URL", "postgresql+psycopg://u@db.example/x")
    monkeypatch.setenv("WINNOW_TEST_BROKER_URL", "redis://broker.example:1")
    with servers.postgres_server() as database, servers.redis_server() as broker:
        named = (database, broker)
    assert named == ("postgresql+psycopg://u@db.example/x", "redis://broker.example:1")


def test_database_of_a_session_is_dropped_even_while_it_is_used(postgres_url: str) -> None:
    with servers.own_database(postgres_url) as url:
        connection = create_engine(url, poolclass=NullPool).connect()
    with pytest.raises(OperationalError):
        connection.execute(text("SELECT 1"))
    connection.close()
    with pytest.raises(OperationalError, match="does not exist"):
        ask(url, "SELECT 1")


def test_two_sessions_have_two_redis_numbers_and_leave_them_empty(redis_number: str) -> None:
    server = redis_number.rpartition("/")[0]
    with servers.own_number(server) as one, servers.own_number(server) as two:
        assert len({redis_number, one, two}) == 3
        for url in (one, two):
            with redis.Redis.from_url(url) as client:
                client.set("left", "behind")
    with redis.Redis.from_url(one) as client:
        assert client.dbsize() == 0


def test_settings_reach_a_process_through_its_environment(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = settings.model_copy(update={"models": ("winnow-mini", "gpt2@abc"), "threads": 2})
    for name, value in servers.service_env(sent).items():
        monkeypatch.setenv(name, value)
    assert Settings() == sent


def test_redis_of_ones_own_comes_back_on_the_same_port(tmp_path: Path) -> None:
    with servers.own_redis(tmp_path) as url:
        port = int(url.rpartition(":")[2])
    with servers.own_redis(tmp_path, port=port) as again:
        assert again == url
