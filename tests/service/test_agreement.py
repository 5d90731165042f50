"""Two runs compared over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.conftest import RECORDS


@pytest.fixture
def second_run(
    client: TestClient, finished_run: dict[str, Any], work: Callable[[], None]
) -> dict[str, Any]:
    """Another run of the same dataset, under another template."""
    body = {"dataset": finished_run["dataset"], "template": "alpaca"}
    run: dict[str, Any] = client.post("/score", json=body).json()
    work()
    return run


def test_a_run_agrees_with_itself(client: TestClient, finished_run: dict[str, Any]) -> None:
    run = finished_run["id"]
    found = client.get(f"/runs/{run}/agreement/{run}").json()
    assert found["rows"] == len(RECORDS)
    assert found["spearman"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert all(overlap["highest"] == 1.0 for overlap in found["overlaps"])


def test_two_runs_are_compared_over_the_rows_that_both_scored(
    client: TestClient, finished_run: dict[str, Any], second_run: dict[str, Any]
) -> None:
    found = client.get(f"/runs/{finished_run['id']}/agreement/{second_run['id']}").json()
    assert found["runs"] == [finished_run["id"], second_run["id"]]
    assert found["rows"] == len(RECORDS)
    assert -1 <= found["spearman"]["low"] <= found["spearman"]["value"] <= 1
    assert [overlap["ratio"] for overlap in found["overlaps"]] == [0.01, 0.05, 0.1, 0.25, 0.5]


def test_runs_of_different_datasets_are_not_compared(
    client: TestClient, finished_run: dict[str, Any], work: Callable[[], None]
) -> None:
    other = client.post("/score", json=RECORDS[:15]).json()
    work()
    answer = client.get(f"/runs/{finished_run['id']}/agreement/{other['id']}")
    assert answer.status_code == 422
    assert "different datasets" in answer.json()["detail"]


def test_a_run_that_works_has_nothing_to_compare_yet(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    started = client.post("/score", json={"dataset": finished_run["dataset"]}).json()
    answer = client.get(f"/runs/{finished_run['id']}/agreement/{started['id']}")
    assert answer.status_code == 409
    assert answer.headers["Retry-After"] == "2"
