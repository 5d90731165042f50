"""Runs as files for labelling platforms, over HTTP."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from tests.service.conftest import RECORDS

QUESTION = str(UUID(int=7))


@pytest.fixture
def run(client: TestClient, work: Callable[[], None]) -> str:
    """A run of `alice` on records that can be scored and some that can't."""
    lines = [json.dumps(record) for record in RECORDS]
    lines[3] = '{"instruction": "Say nothing.", "output": ""}'
    lines[5] = "not JSON\x00 at all"
    run_id: str = client.post("/score", content="\n".join(lines)).json()["id"]
    work()
    return run_id


def scores_of(client: TestClient, run: str) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = client.get(f"/runs/{run}/scores").json()["data"]
    return data


def test_a_subset_is_a_task_file(client: TestClient, run: str) -> None:
    asked = {"count": 5, "strategy": "top", "order": "score", "format": "label_studio"}
    answer = client.get("/subsets", params=asked)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Disposition"].endswith(f'{run}-subset.json"')
    tasks = answer.json()
    records = client.get("/subsets", params=asked | {"format": "jsonl"}).text.splitlines()
    shared = [{name: task["data"][name] for name in RECORDS[0]} for task in tasks]
    assert shared == [json.loads(line) for line in records]
    predictions = [task["predictions"][0] for task in tasks]
    assert {each["model_version"] for each in predictions} == {run}
    assert [each["score"] for each in predictions] == sorted(
        (each["score"] for each in predictions), reverse=True
    )
    results = [each["result"][0] for each in predictions]
    assert {(each["from_name"], each["to_name"]) for each in results} == {("verdict", "answer")}
    assert {each["value"]["choices"][0] for each in results} == {"keep"}
    scores = scores_of(client, run)
    for task in tasks:
        said = scores[task["data"]["winnow_row"]]
        assert task["data"]["winnow_score"] == said["score"]
        assert task["data"]["winnow_loss_direct"] == said["loss_direct"]


def test_controls_may_have_other_names(client: TestClient, run: str) -> None:
    asked = {"run": run, "count": 1, "format": "label_studio", "from_name": "v", "to_name": "a"}
    (task,) = client.get("/subsets", params=asked).json()
    result = task["predictions"][0]["result"][0]
    assert (result["from_name"], result["to_name"]) == ("v", "a")
    plain = client.get("/subsets", params=asked | {"format": "json"})
    assert (plain.status_code, plain.json()["param"]) == (422, "from_name")


def test_every_row_of_a_run_is_a_task(client: TestClient, run: str) -> None:
    asked = {"format": "label_studio", "ratio": "0.3"}
    tasks = client.get(f"/runs/{run}/scores", params=asked).json()
    scores = scores_of(client, run)
    assert [task["data"]["winnow_row"] for task in tasks] == list(range(len(RECORDS)))
    below = sorted((row["score"] for row in scores if row.get("score", 1) < 1), reverse=True)
    threshold = below[:6][-1]
    for task, said in zip(tasks, scores, strict=True):
        prediction = task["predictions"][0]
        if said["status"] == "rejected" or said["score"] >= 1:
            choice = "check"
        else:
            choice = "keep" if said["score"] >= threshold else "drop"
        assert task["data"]["winnow_choice"] == choice
        assert prediction["result"][0]["value"] == {"choices": [choice]}
        assert (prediction["score"] is None) == (said["status"] == "rejected")
    assert tasks[3]["data"]["instruction"] == "Say nothing."
    assert tasks[3]["data"]["winnow_reason"] == "empty_answer"
    assert tasks[5]["data"]["record"] == "not JSON\ufffd at all"
    assert (tasks[5]["data"]["winnow_prompt"], tasks[5]["data"]["winnow_answer"]) == ("", "")


def test_the_choice_of_all_rows_needs_a_ratio_only_there(client: TestClient, run: str) -> None:
    refused = client.get(f"/runs/{run}/scores", params={"format": "csv", "ratio": "0.3"})
    assert (refused.status_code, refused.json()["param"]) == (422, "ratio")
    whole = client.get(f"/runs/{run}/scores", params={"format": "label_studio", "ratio": "2"})
    assert whole.status_code == 422


def test_a_run_is_bulks_for_argilla(client: TestClient, run: str) -> None:
    asked = {"format": "argilla", "question_id": QUESTION}
    whole = client.get(f"/runs/{run}/scores", params=asked)
    assert whole.headers["Content-Type"] == "application/jsonl"
    (bulk,) = (json.loads(line) for line in whole.text.splitlines())
    dataset = client.get(f"/runs/{run}").json()["dataset"]
    assert [item["external_id"] for item in bulk["items"]] == [
        f"{dataset}-{row}" for row in range(len(RECORDS))
    ]
    assert bulk["items"][0]["fields"] == {"prompt": "Question 0", "answer": "Answer number 0"}
    assert bulk["items"][0]["metadata"]["source"] == "a"
    (suggestion,) = bulk["items"][3]["suggestions"]
    assert suggestion == {
        "question_id": QUESTION,
        "value": "check",
        "score": None,
        "agent": run,
        "type": "model",
    }
    subset = client.get("/subsets", params={"run": run, "count": 2, "format": "argilla"})
    assert [len(json.loads(line)["items"]) for line in subset.text.splitlines()] == [2]
    malformed = client.get("/subsets", params=asked | {"question_id": "verdict", "count": 1})
    assert malformed.status_code == 422


def test_files_of_other_forms_have_other_tags(client: TestClient, run: str) -> None:
    forms = [
        {"format": "jsonl"},
        {"format": "csv"},
        {"format": "csv", "escape": "spreadsheet"},
        {"format": "label_studio"},
        {"format": "label_studio", "to_name": "other"},
        {"format": "argilla"},
        {"format": "argilla", "question_id": QUESTION},
    ]
    tags = {client.head("/subsets", params={"count": 2, **form}).headers["ETag"] for form in forms}
    assert len(tags) == len(forms)
    assert run


def test_a_csv_for_a_spreadsheet_has_no_formulas(
    client: TestClient, work: Callable[[], None]
) -> None:
    rows = [{"instruction": "=1+1", "output": "@two", "n": -3}]
    client.post("/score", json=rows)
    work()
    asked = {"count": "1", "strategy": "bottom", "format": "csv", "escape": "spreadsheet"}
    (found,) = csv.DictReader(io.StringIO(client.get("/subsets", params=asked).text))
    assert found == {"instruction": "'=1+1", "output": "'@two", "n": "-3"}


def test_nobody_else_gets_the_tasks(client: TestClient, run: str, bob: dict[str, str]) -> None:
    for form in ("label_studio", "argilla"):
        assert client.get(f"/runs/{run}/scores?format={form}", headers=bob).status_code == 404
