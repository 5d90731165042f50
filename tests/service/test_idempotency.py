"""A request that is sent twice under one key is done once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from winnow.store.blobs import Blobs

JSONL = b'{"instruction": "a", "output": "b"}\n'
KEY = {"Idempotency-Key": "try-1"}


@pytest.mark.parametrize("path", ["/score", "/datasets"])
def test_a_replay_gets_the_first_answer_and_makes_nothing(
    client: TestClient, blobs: Blobs, path: str
) -> None:
    first = client.post(path, content=JSONL, headers=KEY)
    replay = client.post(path, content=JSONL, headers=KEY)
    assert "Idempotent-Replayed" not in first.headers
    assert replay.headers["Idempotent-Replayed"] == "true"
    assert (replay.status_code, replay.content) == (first.status_code, first.content)
    assert replay.headers["Location"] == first.headers["Location"]
    listed = "/runs" if path == "/score" else "/datasets"
    assert len(client.get(listed).json()["data"]) == 1
    assert len(blobs.fs.find(blobs.root)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"content": JSONL * 2},
        {"content": JSONL, "params": {"seed": 1}},
        {"content": JSONL, "url": "/datasets"},
    ],
    ids=["bytes", "options", "route"],
)
def test_another_request_under_the_same_key_is_refused(
    client: TestClient, other: dict[str, Any]
) -> None:
    client.post("/score", content=JSONL, headers=KEY)
    answer = client.post(**{"url": "/score", "headers": KEY, **other})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_a_key_belongs_to_its_owner(client: TestClient, bob: dict[str, str]) -> None:
    ours = client.post("/score", content=JSONL, headers=KEY).json()
    theirs = client.post("/score", content=JSONL, headers=KEY | bob)
    assert "Idempotent-Replayed" not in theirs.headers
    assert theirs.json()["id"] != ours["id"]


def test_a_request_that_failed_leaves_its_key_free(client: TestClient) -> None:
    missing = client.post("/score", json={"dataset": "ds_none"}, headers=KEY)
    assert missing.status_code == 404
    assert client.post("/score", content=JSONL, headers=KEY).status_code == 202


def test_twenty_at_once_under_one_key_make_one_run(client: TestClient) -> None:
    def post(_: int) -> Response:
        return client.post("/score", content=JSONL, headers=KEY)

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(post, range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert len(client.get("/runs").json()["data"]) == 1


def test_a_hundred_at_once_without_a_key_are_all_served(client: TestClient) -> None:
    """More than connections and threads together: none may hold one while it waits for the other."""
    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(lambda _: client.post("/score", content=JSONL), range(100)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 100
    assert len(client.get("/datasets").json()["data"]) == 1
