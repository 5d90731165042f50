"""Datasets over HTTP: what they tell, page by page, and how they go away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient

from winnow.store.blobs import Blobs

GOOD = b'{"instruction": "a", "output": "b"}\n'
BAD = b'{"instruction": "a"}\nnot json\n{"instruction": "a", "output": ""}\n'


def test_a_known_dataset_is_answered_as_it_is(
    client: TestClient, work: Callable[[], None], blobs: Blobs
) -> None:
    first = client.post("/datasets", content=GOOD, params={"name": "mine"})
    assert first.status_code == 202
    assert first.headers["Location"] == f"/datasets/{first.json()['id']}"
    work()
    files = blobs.fs.find(blobs.root)
    again = client.post("/datasets", content=GOOD)
    assert again.status_code == 200
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["name"] == "mine"
    assert blobs.fs.find(blobs.root) == files


def test_rejections_are_paged_in_row_order_with_line_and_remedy(
    client: TestClient, work: Callable[[], None]
) -> None:
    dataset = client.post("/datasets", content=GOOD + BAD).json()
    work()
    path = f"/datasets/{dataset['id']}/rejections"
    first = client.get(path, params={"limit": 2}).json()
    assert first["has_more"]
    rest = client.get(path, params={"after": first["data"][-1]["row"]}).json()
    assert not rest["has_more"]
    found = first["data"] + rest["data"]
    assert [(each["row"], each["reason"]) for each in found] == [
        (1, "missing_field"),
        (2, "malformed"),
        (3, "empty_answer"),
    ]
    assert all(f"line {each['row'] + 1}" in each["detail"] for each in found)
    summary = client.get(f"/datasets/{dataset['id']}").json()
    assert (summary["rows_read"], summary["rows_usable"], summary["rows_rejected"]) == (4, 1, 3)


def test_lists_are_read_page_by_page_newest_first(client: TestClient) -> None:
    made = [client.post("/datasets", content=GOOD * n).json()["id"] for n in range(1, 6)]
    seen: list[str] = []
    more: dict[str, Any] = {}
    while True:
        page = client.get("/datasets", params={"limit": 2, **more}).json()
        seen += [each["id"] for each in page["data"]]
        if not page["has_more"]:
            break
        more = {"after": seen[-1]}
    assert seen == made[::-1]


def test_a_deleted_dataset_is_gone_at_once_and_its_files_after_the_purge(
    client: TestClient, work: Callable[[], None], blobs: Blobs, finished_run: dict[str, Any]
) -> None:
    path = f"/datasets/{finished_run['dataset']}"
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    assert client.get(f"/runs/{finished_run['id']}").status_code == 404
    assert client.delete(path).status_code == 404
    work()
    assert blobs.fs.find(blobs.root) == []


def test_a_file_without_a_usable_row_fails_its_run_with_the_reason(
    client: TestClient, work: Callable[[], None]
) -> None:
    run = client.post("/score", content=BAD).json()
    work()
    failed = client.get(f"/runs/{run['id']}").json()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "no_usable_rows")
    answer = client.get("/subsets", params={"ratio": 0.1, "run": run["id"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "run_not_usable")
    assert answer.headers["x-should-retry"] == "false"
    assert client.get("/subsets?ratio=0.1").status_code == 404


def test_damage_to_a_container_fails_the_dataset_and_its_run(
    client: TestClient, work: Callable[[], None]
) -> None:
    run = client.post("/score", content=b"[" + GOOD.strip() + b",").json()
    work()
    dataset = client.get(f"/datasets/{run['dataset']}").json()
    assert (dataset["status"], dataset["error"]["code"]) == ("failed", "damaged_container")
    assert client.get(f"/runs/{run['id']}").json()["error"]["code"] == "damaged_container"
