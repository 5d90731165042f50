"""The events of a run, as a list and as a stream that can be left and taken up again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from service import events
from tests.service.conftest import RECORDS

STREAM = {"Accept": "text/event-stream"}


def messages(text: str) -> list[dict[str, str]]:
    """The messages of a stream: the fields of each."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_events_are_listed_by_number(client: TestClient, finished_run: dict[str, Any]) -> None:
    path = f"/runs/{finished_run['id']}/events"
    page = client.get(path).json()
    numbers = [event["seq"] for event in page["data"]]
    assert numbers == list(range(1, len(numbers) + 1))
    types = [event["type"] for event in page["data"]]
    assert (types[0], types[-1]) == ("run.queued", "run.completed")
    assert not page["has_more"]
    rest = client.get(path, params={"after": numbers[1]}).json()
    assert [event["seq"] for event in rest["data"]] == numbers[2:]


def test_a_stream_tells_what_was_and_ends_with_the_run(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    path = f"/runs/{finished_run['id']}/events"
    answer = client.get(path, headers=STREAM)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    numbered = [message for message in messages(answer.text) if "id" in message]
    assert [int(message["id"]) for message in numbered] == list(range(1, len(numbered) + 1))
    assert numbered[-1]["event"] == "run.completed"
    listed = client.get(path).json()["data"]
    assert [json.loads(message["data"]) for message in numbered] == listed
    (progress,) = (
        message for message in messages(answer.text) if message.get("event") == "progress"
    )
    assert json.loads(progress["data"])["counts"]["rows_done"] == len(RECORDS)


def test_a_stream_goes_on_after_the_last_event_that_was_seen(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    path = f"/runs/{finished_run['id']}/events"
    last = client.get(path).json()["data"][-1]["seq"]
    resumed = client.get(path, headers=STREAM | {"Last-Event-ID": "2"})
    numbers = [int(message["id"]) for message in messages(resumed.text) if "id" in message]
    assert numbers == list(range(3, last + 1))
    # 204 is how a server tells an EventSource not to come back.
    over = client.get(path, headers=STREAM | {"Last-Event-ID": str(last)})
    assert (over.status_code, over.content) == (204, b"")


def test_a_stream_tells_what_happens_while_it_is_open_and_holds_no_connection(
    live: httpx.Client, work: Callable[[], None]
) -> None:
    run = live.post("/score", json=RECORDS).json()
    with live.stream("GET", f"/runs/{run['id']}/events", headers=STREAM) as answer:
        lines = answer.iter_lines()
        first = next(line for line in lines if line.startswith("event: run."))
        assert first == "event: run.queued"
        threading.Thread(target=work).start()
        types = [line for line in lines if line.startswith("event: run.")]
    assert types[-1] == "event: run.completed"


def test_more_streams_than_connections_and_threads_leave_the_gateway_responsive(
    live: httpx.Client,
) -> None:
    run = live.post("/score", json=RECORDS).json()
    limits = httpx.Limits(max_connections=80)
    with httpx.Client(base_url=live.base_url, headers=live.headers, limits=limits) as many:
        path = f"/runs/{run['id']}/events"
        streams = [
            many.send(many.build_request("GET", path, headers=STREAM), stream=True)
            for _ in range(60)
        ]
        started = time.monotonic()
        assert live.get("/runs").status_code == 200
        assert time.monotonic() - started < 5
        for stream in streams:
            stream.close()
    live.post(f"/runs/{run['id']}/cancel")


def test_a_long_stream_ends_and_asks_the_client_to_come_back(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LIFE_S", 0.2)
    monkeypatch.setattr(events, "PING_S", 0.05)
    monkeypatch.setattr(events, "POLL_S", 0.05)
    run = client.post("/score", json=RECORDS).json()
    answer = client.get(f"/runs/{run['id']}/events", headers=STREAM)
    assert answer.text.startswith("retry: 1000\n\n")
    assert ": ping\n\n" in answer.text


def test_a_run_deleted_under_a_stream_ends_it(live: httpx.Client) -> None:
    run = live.post("/score", json=RECORDS).json()
    with live.stream("GET", f"/runs/{run['id']}/events", headers=STREAM) as answer:
        lines = answer.iter_lines()
        assert "event: run.queued" in lines
        live.delete(f"/runs/{run['id']}")
        assert not [line for line in lines if line.startswith("event: run.")]
