"""Every error is a problem: those that Winnow raises, those of the framework, and those nobody expected."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from service.app import create_app
from service.errors import HEADERS, STATUS
from winnow import errors
from winnow.settings import Settings
from winnow.store.blobs import Blobs
from winnow.store.session import Database

JSONL = b'{"instruction": "a", "output": "b"}\n'


@pytest.mark.parametrize(
    ("method", "path", "send", "status", "code"),
    [
        ("GET", "/nowhere", {}, 404, "not_found"),
        ("GET", "/runs/run_none", {}, 404, "not_found"),
        ("PUT", "/runs", {}, 405, "method_not_allowed"),
        ("GET", "/subsets?ratio=0.1", {}, 404, "not_found"),
        ("GET", "/runs?limit=1000", {}, 422, "invalid_option"),
        ("GET", "/runs?status=lost", {}, 422, "invalid_option"),
        ("GET", "/subsets?ratio=2", {}, 422, "invalid_option"),
        ("GET", "/subsets?ratio=0.1&format=excel", {}, 422, "invalid_option"),
        ("GET", "/subsets?ratio=0.1&per=line", {}, 422, "invalid_option"),
        ("POST", "/score", {"content": b"\x00\x01"}, 415, "unknown_format"),
        ("POST", "/datasets", {}, 422, "invalid_option"),
        ("GET", "/runs", {"headers": {"Authorization": "Bearer x"}}, 401, "not_authenticated"),
    ],
)
def test_every_error_is_a_problem(
    client: TestClient, method: str, path: str, send: dict[str, Any], status: int, code: str
) -> None:
    answer = client.request(method, path, **send)
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["detail"] == problem["message"] != ""
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert {"type", "title", "param", "errors"} <= problem.keys()


def test_a_405_says_what_is_allowed(client: TestClient) -> None:
    assert client.put("/runs").headers["Allow"] == "GET"


def test_every_refused_field_is_named(client: TestClient) -> None:
    problem = client.get("/subsets?ratio=2&seed=x&colour=red").json()
    named = {field["param"]: (field["location"], field["detail"]) for field in problem["errors"]}
    assert named.keys() == {"ratio", "seed", "colour"}
    assert named["colour"] == ("query", "There is no such option")


@pytest.fixture
def small(settings: Settings, make_key: Callable[[str], str]) -> Iterator[TestClient]:
    """A gateway that takes 1,000 bytes."""
    app = create_app(settings.model_copy(update={"max_upload_bytes": 1000}))
    headers = {"Authorization": f"Bearer {make_key('alice')}"}
    with TestClient(app, headers=headers, raise_server_exceptions=False) as client:
        yield client


def chunks(data: bytes) -> Iterator[bytes]:
    """A body without a Content-Length."""
    yield from (data[at : at + 100] for at in range(0, len(data), 100))


@pytest.mark.parametrize("path", ["/score", "/datasets"])
def test_the_upload_limit_holds_for_every_way_to_send(small: TestClient, path: str) -> None:
    fits = JSONL * (1000 // len(JSONL))
    over = fits + JSONL
    ways: list[Callable[[bytes], dict[str, Any]]] = [
        lambda data: {"content": data},
        lambda data: {"content": chunks(data)},
        lambda data: {"files": {"file": ("d.jsonl", data)}},
        # Deflated it is tiny; as sent is what counts, and what it holds is the reader's limit.
    ]
    for way in ways:
        assert small.post(path, **way(fits)).status_code == 202
        answer = small.post(path, **way(over))
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_length_over_the_limit_is_refused_before_anything_is_read(small: TestClient) -> None:
    def never() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    answer = small.post("/score", content=never(), headers={"Content-Length": "1001"})
    assert answer.status_code == 413


def test_options_are_no_way_around_the_limit(small: TestClient) -> None:
    padding = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n' + b"n" * 100_000
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = small.post("/score", content=padding, headers=headers)
    assert (answer.status_code, answer.json()["param"]) == (422, "name")
    epilogue = b"--x--\r\n" + b"e" * 2_000_000
    assert small.post("/score", content=epilogue, headers=headers).status_code == 413


@pytest.mark.parametrize("path", ["/score", "/datasets"])
def test_an_upload_that_is_broken_off_leaves_nothing_behind(
    live: httpx.Client, blobs: Blobs, path: str
) -> None:
    address = (live.base_url.host, live.base_url.port)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
    head += f"Authorization: {live.headers['Authorization']}\r\n\r\n"
    with socket.create_connection(address) as connection:
        connection.sendall(head.encode() + JSONL * 5000)
        while not blobs.fs.find(blobs.root):
            time.sleep(0.01)
    while blobs.fs.find(blobs.root):
        time.sleep(0.01)
    assert live.get("/datasets").json()["data"] == []
    assert 'status="500"' not in live.get("/metrics").text


def test_a_surprise_is_a_500_that_tells_the_request_id_and_nothing_else(
    app: FastAPI, client: TestClient
) -> None:
    @app.get("/surprise")
    def surprise() -> None:
        raise RuntimeError("secret")

    answer = client.get("/surprise", headers={"X-Request-ID": "mine-1"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"] == "mine-1"
    assert "secret" not in answer.text


def test_an_answer_is_not_sent_before_its_commit(client: TestClient, database: Database) -> None:
    broken = text(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'no commit today'; END$$"
    )
    trigger = text(
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON run DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    with database.transaction() as connection:
        connection.execute(broken)
        connection.execute(trigger)
    try:
        assert client.post("/score", content=JSONL).status_code == 500
    finally:
        with database.transaction() as connection:
            connection.execute(text("DROP FUNCTION refuse CASCADE"))
    assert client.get("/datasets").json()["data"] == []


def test_a_database_that_is_away_is_a_503_to_try_again(settings: Settings) -> None:
    away = settings.model_copy(
        update={"database_url": "postgresql+psycopg://nobody@127.0.0.1:1/none"}
    )
    headers = {"Authorization": "Bearer winnow_sk_any"}
    with TestClient(create_app(away), headers=headers, raise_server_exceptions=False) as client:
        answer = client.get("/runs")
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert answer.headers["Retry-After"] == "2"
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"]["database"] == "failed: OperationalError"
        assert b"winnow_requests_total" in client.get("/metrics").content


@pytest.mark.parametrize(
    "path", ["/runs/run_%00", "/runs?after=%00", "/datasets/ds_%00", "/subsets?ratio=1&run=%00"]
)
def test_a_value_that_no_column_can_hold_is_an_error_of_the_caller(
    client: TestClient, path: str
) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")


def test_a_number_that_no_column_can_hold_is_an_error_of_the_caller(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    answer = client.get(f"/runs/{finished_run['id']}/scores?after={10**30}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")


def test_the_table_of_statuses_knows_every_error_that_a_caller_can_cause() -> None:
    ours = {errors.WinnowError, errors.EngineError, errors.LeaseLost, errors.ConfigurationError}
    ours |= {errors.DependencyMissing, errors.ServiceUnreachable, errors.ServiceError}
    ours |= {errors.OutOfMemory, errors.NonFiniteLoss, errors.TrainingDied}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    listed = [kind for kind in kinds if any(issubclass(kind, entry) for entry in STATUS)]
    assert {kind for kind in kinds if kind not in listed} == ours
    assert all(issubclass(kind, errors.WinnowError) for kind in HEADERS)
