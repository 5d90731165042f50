"""Subsets over HTTP: the right rows as the right bytes, under a tag that says so."""

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


@pytest.fixture
def scores(client: TestClient, finished_run: dict[str, Any]) -> list[float]:
    """The score of every row."""
    page = client.get(f"/runs/{finished_run['id']}/scores").json()
    return [row["score"] for row in page["data"]]


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_highest_scores_below_one_come_out_in_their_first_order(
    client: TestClient, finished_run: dict[str, Any], scores: list[float]
) -> None:
    answer = client.get("/subsets?ratio=0.3")
    below = [row for row in range(len(RECORDS)) if scores[row] < 1]
    best = sorted(sorted(below, key=lambda row: (-scores[row], row))[:6])
    assert records(answer.text) == [RECORDS[row] for row in best]
    assert answer.headers["Winnow-Run"] == finished_run["id"]
    assert answer.headers["Winnow-Rows"] == str(len(best))
    assert answer.headers["Winnow-Rows-Read"] == str(len(RECORDS))
    assert answer.headers["Content-Type"] == "application/jsonl"


@pytest.mark.parametrize("strategy", ["top", "bottom", "random"])
@pytest.mark.parametrize("order", ["original", "score"])
def test_the_same_request_gives_the_same_bytes(
    client: TestClient, finished_run: dict[str, Any], strategy: str, order: str
) -> None:
    params = {"count": "3", "strategy": strategy, "order": order, "run": finished_run["id"]}
    first, second = (client.get("/subsets", params=params) for _ in range(2))
    assert first.content == second.content
    assert first.headers["ETag"] == second.headers["ETag"]


def test_every_format_holds_the_same_records(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    answers = {
        name: client.get("/subsets", params={"count": 4, "strategy": "bottom", "format": name})
        for name in ("jsonl", "json", "csv", "parquet")
    }
    expected = records(answers["jsonl"].text)
    assert len(expected) == 4
    assert answers["json"].json() == expected
    assert list(csv.DictReader(io.StringIO(answers["csv"].text))) == expected
    assert pq.read_table(io.BytesIO(answers["parquet"].content)).to_pylist() == expected
    for name, answer in answers.items():
        assert answer.headers["Content-Disposition"].endswith(f'-subset.{name}"')
    assert len({answer.headers["ETag"] for answer in answers.values()}) == 4
    assert finished_run["id"] in answers["csv"].headers["Content-Disposition"]


def test_a_cell_that_looks_like_a_formula_comes_out_as_it_went_in(
    client: TestClient, work: Callable[[], None]
) -> None:
    rows = [{"instruction": "=1+1", "output": "@two"}]
    client.post("/score", json=rows)
    work()
    answer = client.get("/subsets?count=1&strategy=bottom&format=csv")
    assert list(csv.DictReader(io.StringIO(answer.text))) == rows


def test_scores_are_added_as_a_last_member_when_asked_for(
    client: TestClient, scores: list[float]
) -> None:
    answer = client.get("/subsets?count=2&strategy=bottom&order=score&include=scores")
    added = [record.pop("winnow") for record in records(answer.text)]
    assert [each["score"] for each in added] == sorted(scores)[:2]
    assert (
        answer.headers["ETag"]
        != client.get("/subsets?count=2&strategy=bottom&order=score").headers["ETag"]
    )


def test_bounds_and_strategies_reach_the_selection(client: TestClient, scores: list[float]) -> None:
    middle = sorted(scores)[10]
    low = client.get("/subsets", params={"ratio": 1, "strategy": "bottom", "max_score": middle})
    assert int(low.headers["Winnow-Rows"]) == sum(score <= middle for score in scores)
    high = client.get("/subsets", params={"ratio": 1, "strategy": "bottom", "min_score": middle})
    assert int(high.headers["Winnow-Rows"]) == sum(score >= middle for score in scores)
    draws = {
        client.get(f"/subsets?count=5&strategy=random&seed={seed}").content for seed in range(4)
    }
    assert len(draws) > 1


def test_a_known_tag_is_answered_with_304_and_no_bytes(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    tag = client.get("/subsets?ratio=0.1").headers["ETag"]
    assert tag.startswith('"')
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        answer = client.get("/subsets?ratio=0.1", headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == tag
    assert client.get("/subsets?ratio=0.1", headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get("/subsets?ratio=0.10").headers["ETag"] == tag
    assert client.get("/subsets?ratio=0.2").headers["ETag"] != tag
    client.delete(f"/runs/{finished_run['id']}")
    gone = client.get("/subsets?ratio=0.1", headers={"If-None-Match": tag})
    assert gone.status_code == 404


def test_head_has_the_headers_of_get_and_no_body(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    path = f"/subsets?ratio=0.1&format=csv&run={finished_run['id']}"
    got, head = client.get(path), client.head(path)
    assert head.status_code == 200
    assert head.content == b""
    moving = {"date", "x-request-id"}
    assert {name: head.headers[name] for name in head.headers if name not in moving} == {
        name: got.headers[name] for name in got.headers if name not in moving
    }
    assert client.head("/subsets?ratio=7").status_code == 422


def test_a_run_that_works_is_waited_for_and_one_that_failed_is_passed_over(
    client: TestClient, finished_run: dict[str, Any], work: Callable[[], None]
) -> None:
    newer = client.post("/score", json=RECORDS, params={"template": "alpaca"}).json()
    waiting = client.get("/subsets?ratio=0.1")
    assert (waiting.status_code, waiting.json()["code"]) == (409, "scores_not_ready")
    assert int(waiting.headers["Retry-After"]) >= 1
    client.post(f"/runs/{newer['id']}/cancel")
    assert client.get("/subsets?ratio=0.1").headers["Winnow-Run"] == finished_run["id"]
    last = client.post("/score", json=RECORDS, params={"template": "alpaca"}).json()
    work()
    assert client.get("/subsets?ratio=0.1").headers["Winnow-Run"] == last["id"]


def test_a_run_is_found_by_its_dataset_and_its_method(
    client: TestClient, finished_run: dict[str, Any], work: Callable[[], None]
) -> None:
    other = client.post("/score", json=RECORDS[:4]).json()
    work()

    def found(**params: str) -> str:
        return client.get("/subsets", params={"ratio": "0.5", **params}).headers["Winnow-Run"]

    assert found() == other["id"]
    assert found(dataset=finished_run["dataset"]) == finished_run["id"]
    assert found(method="ifd", run=finished_run["id"]) == finished_run["id"]
    mixed = {"ratio": "0.5", "run": other["id"], "dataset": finished_run["dataset"]}
    assert client.get("/subsets", params=mixed).status_code == 404


@pytest.mark.parametrize(
    "query", ["", "ratio=0.1&count=3", "ratio=0", "count=0", "ratio=x", "ratio=NaN"]
)
def test_exactly_one_size_in_range_is_wanted(
    client: TestClient, finished_run: dict[str, Any], query: str
) -> None:
    for path in ("/subsets", "/subsets/manifest"):
        answer = client.get(f"{path}?{query}&run={finished_run['id']}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")


def test_a_subset_of_nothing_is_an_empty_file(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    for name, nothing in (("jsonl", b""), ("json", b"[]\n")):
        answer = client.get(f"/subsets?ratio=0.01&format={name}&run={finished_run['id']}")
        assert (answer.status_code, answer.content) == (200, nothing)
        assert answer.headers["Winnow-Rows"] == "0"


def test_the_manifest_accounts_for_every_row_and_names_every_origin(
    client: TestClient, work: Callable[[], None]
) -> None:
    rows = [*RECORDS, RECORDS[0], {"instruction": "no answer"}]
    run = client.post("/score", json=rows, params={"name": "twice"}).json()
    work()
    params = {"ratio": "1", "strategy": "bottom", "max_score": 100}
    manifest = client.get("/subsets/manifest", params=params).json()
    selected = client.get("/subsets", params=params)
    dataset = client.get(f"/datasets/{run['dataset']}").json()
    assert manifest["run"]["id"] == run["id"]
    assert manifest["run"]["revision"] == run["revision"]
    assert manifest["run"]["options"] == run["options"]
    assert manifest["dataset"]["sha256"] == dataset["sha256"]
    assert manifest["rows_read"] == manifest["rows_wanted"] == len(rows)
    assert manifest["rows_selected"] == int(selected.headers["Winnow-Rows"]) == len(RECORDS) + 1
    assert manifest["rows_selected"] + sum(manifest["taken_by_rule"].values()) == len(rows)
    assert manifest["taken_by_rule"]["rejected"] == 1
    assert manifest["duplicates"] == 1
    sources = {each["source"]: (each["selected"], each["all"]) for each in manifest["sources"]}
    assert sources == {"a": (11, 11), "b": (10, 10), None: (0, 1)}
    tokens = manifest["comparison"]["answer_tokens"]
    assert tokens["selected"] == tokens["all"]
    assert manifest["comparison"]["share_truncated"] == {"selected": 0.0, "all": 0.0}
    assert client.get(manifest["links"]["subset"]).content == selected.content


def test_the_manifest_of_nothing_has_no_numbers_and_no_error(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    manifest = client.get(f"/subsets/manifest?ratio=0.01&run={finished_run['id']}").json()
    assert manifest["rows_selected"] == 0
    assert manifest["threshold"] is None
    assert manifest["comparison"]["score"]["selected"]["mean"] is None
    assert manifest["comparison"]["score"]["all"]["mean"] > 0


@pytest.mark.usefixtures("finished_run")
def test_sources_give_the_same_number_of_rows_if_asked(client: TestClient) -> None:
    answer = client.get("/subsets?count=7&strategy=bottom&per=source&include=scores")
    chosen = [record["source"] for record in records(answer.text)]
    assert sorted((chosen.count("a"), chosen.count("b"))) == [3, 4]
    manifest = client.get("/subsets/manifest?count=7&strategy=bottom&per=source").json()
    assert sum(source["selected"] for source in manifest["sources"]) == 7
    assert "per=source" in manifest["links"]["subset"]


@pytest.mark.usefixtures("finished_run")
@pytest.mark.parametrize("stratify", ["length", "source"])
def test_a_stratified_subset_has_as_many_rows(client: TestClient, stratify: str) -> None:
    answer = client.get(
        "/subsets", params={"ratio": 0.5, "strategy": "random", "stratify": stratify}
    )
    assert answer.headers["Winnow-Rows"] == "10"


@pytest.mark.usefixtures("finished_run")
def test_equal_and_proportional_parts_contradict_each_other(client: TestClient) -> None:
    answer = client.get("/subsets?ratio=0.5&per=source&stratify=source")
    assert answer.status_code == 422
    assert answer.json()["param"] == "stratify"
