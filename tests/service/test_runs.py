"""Runs over HTTP: progress, scores, figures, and how they end early."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from tests.service.conftest import RECORDS
from winnow.messages import Offer
from winnow.store.session import Database
from winnow.store.workers_registry import heartbeat


def test_a_finished_run_accounts_for_every_row(finished_run: dict[str, Any]) -> None:
    counts = finished_run["counts"]
    assert counts["rows"] == counts["rows_done"] == len(RECORDS)
    assert counts["rows_scored"] + counts["rows_rejected"] == len(RECORDS)
    assert counts["blocks"] == counts["blocks_done"] == 1
    assert finished_run["summary"]["quantiles"].keys() >= {"0", "50", "100"}
    assert finished_run["rows_per_s"] > 0
    assert finished_run["eta_s"] is None
    assert finished_run["waits_for"] is None
    assert finished_run["finished_at"] >= finished_run["started_at"] >= finished_run["created_at"]


def test_a_run_says_what_it_waits_for_until_a_worker_is_there(
    client: TestClient, database: Database
) -> None:
    run = client.post("/score", json=RECORDS).json()
    assert "winnow worker --queues io" in run["waits_for"]
    with database.transaction() as connection:
        heartbeat(connection, worker_id="w", queues=["io"])
    assert client.get(f"/runs/{run['id']}").json()["waits_for"] is None
    assert client.get("/runs").json()["data"][0]["waits_for"] is None


def test_runs_are_listed_by_dataset_and_status(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    other = client.post("/score", json=RECORDS[:3]).json()

    def ids(**params: str) -> list[str]:
        return [run["id"] for run in client.get("/runs", params=params).json()["data"]]

    assert ids() == [other["id"], finished_run["id"]]
    assert ids(status="completed") == [finished_run["id"]]
    assert ids(dataset=other["dataset"]) == [other["id"]]
    assert ids(after=other["id"]) == [finished_run["id"]]
    dry = client.post("/score?dry_run=true", json=RECORDS[:3]).json()
    assert ids()[0] == dry["id"]
    assert ids(dry_runs="false") == [other["id"], finished_run["id"]]


def test_scores_are_paged_in_row_order(client: TestClient, finished_run: dict[str, Any]) -> None:
    path = f"/runs/{finished_run['id']}/scores"
    first = client.get(path, params={"limit": 15}).json()
    rest = client.get(path, params={"after": 14}).json()
    assert (first["has_more"], rest["has_more"]) == (True, False)
    rows = first["data"] + rest["data"]
    assert [row["row"] for row in rows] == list(range(len(RECORDS)))
    assert rows[0].keys() == {
        "row",
        "status",
        "score",
        "loss_conditioned",
        "loss_direct",
        "tokens_conditioned",
        "tokens_direct",
        "flags",
    }


def test_every_form_of_the_scores_says_the_same(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    path = f"/runs/{finished_run['id']}/scores"
    page = client.get(path).json()["data"]
    whole = {
        name: client.get(path, params={"format": name}) for name in ("jsonl", "csv", "parquet")
    }
    assert [json.loads(line) for line in whole["jsonl"].text.splitlines()] == page
    columns = csv.DictReader(io.StringIO(whole["csv"].text))
    assert [float(row["score"]) for row in columns] == [row["score"] for row in page]
    table = pq.read_table(io.BytesIO(whole["parquet"].content))
    assert table.column("score").to_pylist() == [row["score"] for row in page]
    assert whole["csv"].headers["Content-Type"] == "text/csv; charset=utf-8"
    assert finished_run["id"] in whole["csv"].headers["Content-Disposition"]


def test_rejected_rows_have_a_reason_in_the_scores(
    client: TestClient, work: Callable[[], None]
) -> None:
    run = client.post("/score", json=[*RECORDS, {"instruction": "no answer"}]).json()
    work()
    last = client.get(f"/runs/{run['id']}/scores").json()["data"][-1]
    assert (last["row"], last["status"], last["reason"]) == (20, "rejected", "missing_field")
    assert last.keys() == {"row", "status", "reason", "detail"}


@pytest.mark.parametrize("what", ["scores?format=jsonl", "histogram"])
def test_what_needs_every_score_waits_for_the_end(client: TestClient, what: str) -> None:
    run = client.post("/score", json=RECORDS).json()
    answer = client.get(f"/runs/{run['id']}/{what}")
    assert (answer.status_code, answer.json()["code"]) == (409, "scores_not_ready")
    assert int(answer.headers["Retry-After"]) >= 1
    client.post(f"/runs/{run['id']}/cancel")
    answer = client.get(f"/runs/{run['id']}/{what}")
    assert (answer.status_code, answer.json()["code"]) == (409, "run_not_usable")


def test_a_histogram_counts_every_scored_row_once(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    path = f"/runs/{finished_run['id']}/histogram"
    scores = sorted(
        row["score"] for row in client.get(f"/runs/{finished_run['id']}/scores").json()["data"]
    )
    plain = client.get(path, params={"bins": 7}).json()
    assert len(plain["counts"]) == 7
    assert len(plain["edges"]) == 8
    assert sum(plain["counts"]) + plain["below"] + plain["above"] == plain["scored"] == len(RECORDS)
    bounds = {"bins": 1, "min": scores[2], "max": scores[-3]}
    inner = client.get(path, params=bounds).json()
    assert (inner["below"], inner["counts"], inner["above"]) == (2, [len(RECORDS) - 4], 2)


@pytest.mark.parametrize(("low", "high"), [("-1e308", "1e308"), ("1", "1.0000000000000002")])
def test_a_histogram_without_bins_is_refused(
    client: TestClient, finished_run: dict[str, Any], low: str, high: str
) -> None:
    path = f"/runs/{finished_run['id']}/histogram"
    answer = client.get(path, params={"min": low, "max": high})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")


def test_a_cancelled_run_stays_cancelled(client: TestClient, work: Callable[[], None]) -> None:
    run = client.post("/score", json=RECORDS).json()
    path = f"/runs/{run['id']}"
    for _ in range(2):
        assert client.post(f"{path}/cancel").json()["status"] == "cancelled"
    work()
    assert client.get(path).json()["status"] == "cancelled"


def test_a_completed_run_cannot_be_cancelled(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    answer = client.post(f"/runs/{finished_run['id']}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_a_deleted_run_leaves_its_dataset(
    client: TestClient, finished_run: dict[str, Any], work: Callable[[], None]
) -> None:
    assert client.delete(f"/runs/{finished_run['id']}").status_code == 204
    assert client.get(f"/runs/{finished_run['id']}").status_code == 404
    work()
    assert client.get(f"/datasets/{finished_run['dataset']}").status_code == 200


def test_models_tell_the_default_its_files_and_who_offers_them(
    client: TestClient, database: Database
) -> None:
    offer = Offer(engine="torch", model="winnow-mini", dtype="float32")
    with database.transaction() as connection:
        for worker in ("one", "two"):
            heartbeat(connection, worker_id=worker, queues=[offer.queue], offers=[offer])
    (model,) = client.get("/models").json()["data"]
    assert (model["id"], model["default"]) == ("winnow-mini", True)
    assert len(model["revision"]) == 16
    assert model["offers"] == [{"engine": "torch", "dtype": "float32", "num_workers": 2}]
