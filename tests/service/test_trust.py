"""Trust over HTTP: a sample of somebody's rows, scored by a small and a large model."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from winnow.settings import Settings
from winnow.store.blobs import Blobs

ROWS = [
    {"instruction": f"Question {n}", "output": f"Answer number {n} {'and so on ' * (n % 7)}"}
    for n in range(200)
]
BAD = {"instruction": "no answer"}
ASK = {"target": "winnow-large", "sample": 60}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An installation with a small and a large model."""
    return settings.model_copy(update={"models": ("winnow-mini", "winnow-large")})


@pytest.fixture
def dataset(client: TestClient, work: Callable[[], None]) -> str:
    """A dataset of alice that has been read; every fifth row is no example."""
    rows = [BAD if n % 5 == 4 else row for n, row in enumerate(ROWS)]
    dataset: str = client.post("/datasets", json=rows).json()["id"]
    work()
    return dataset


def ask(client: TestClient, **options: Any) -> dict[str, Any]:
    answer = client.post("/trust", json=ASK | options)
    assert answer.status_code == 202, answer.text
    asked: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == asked["links"]["report"]
    return asked


def records(dataset: str, blobs: Blobs) -> bytes:
    with blobs.open_read(f"datasets/{dataset}/upload") as upload:
        return upload.read()


def test_a_sample_is_scored_by_both_models_and_compared(
    client: TestClient, dataset: str, work: Callable[[], None]
) -> None:
    asked = ask(client, dataset=dataset)
    assert (asked["proxy"]["model"], asked["target"]["model"]) == ("winnow-mini", "winnow-large")
    assert asked["proxy"]["dataset"] == asked["target"]["dataset"] != dataset
    report = asked["links"]["report"]
    waiting = client.get(report)
    assert (waiting.status_code, waiting.json()["code"]) == (409, "scores_not_ready")
    work()
    found = client.get(report).json()
    assert (found["proxy"], found["target"]) == (asked["proxy"]["id"], asked["target"]["id"])
    assert found["rows"] == 60
    assert found["verdict"] in {"strong", "fair", "weak", "none"}
    assert found["words"]
    for name in ("spearman", "partial", "length", "gain"):
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    assert all(0 <= one["proxy"]["value"] <= 1 for one in found["kept"])
    assert client.get(report).json() == found
    # What any two runs can be asked is open to these too.
    agreement = client.get(f"/runs/{found['proxy']}/agreement/{found['target']}").json()
    assert agreement["spearman"]["value"] == found["spearman"]["value"]


def test_a_sample_says_which_rows_it_has_and_has_them_as_they_were(
    client: TestClient, dataset: str, blobs: Blobs, work: Callable[[], None]
) -> None:
    asked = ask(client, dataset=dataset)
    sample = asked["sample"]
    assert (sample["dataset"], sample["rows_read"], sample["rows_usable"]) == (dataset, 200, 160)
    assert len(set(sample["rows"])) == 60
    assert sample["rows"] == sorted(sample["rows"])
    assert not [row for row in sample["rows"] if row % 5 == 4]
    written = records(asked["proxy"]["dataset"], blobs).splitlines()
    assert [json.loads(line) for line in written] == [ROWS[row] for row in sample["rows"]]
    work()
    run = client.get(f"/runs/{asked['proxy']['id']}").json()
    assert (run["counts"]["rows"], run["counts"]["rows_rejected"]) == (60, 0)


def test_the_same_sample_is_one_dataset_and_a_seed_makes_another(
    client: TestClient, dataset: str
) -> None:
    first, second = (ask(client, dataset=dataset) for _ in range(2))
    assert first["sample"] == second["sample"]
    assert first["proxy"]["dataset"] == second["proxy"]["dataset"]
    assert first["proxy"]["id"] != second["proxy"]["id"]
    other = ask(client, dataset=dataset, seed=7)
    assert other["sample"]["rows"] != first["sample"]["rows"]
    assert len(client.get("/datasets").json()["data"]) == 3


def test_a_dataset_that_is_small_and_whole_is_its_own_sample(
    client: TestClient, work: Callable[[], None]
) -> None:
    dataset = client.post("/datasets", json=ROWS[:40]).json()["id"]
    work()
    asked = ask(client, dataset=dataset)
    assert asked["sample"]["rows"] == list(range(40))
    assert asked["proxy"]["dataset"] == dataset


@pytest.mark.parametrize("container", ["csv", "tsv", "parquet", "json"])
def test_a_sample_stays_in_the_container_that_it_came_in(
    client: TestClient, blobs: Blobs, work: Callable[[], None], container: str
) -> None:
    rows = [*ROWS[:99], {"instruction": "=1+1", "output": 'Two,\t"quoted"\nlines'}]
    dataset = client.post("/datasets", content=in_container(rows, container)).json()["id"]
    work()
    asked = ask(client, dataset=dataset, sample=99, seed=3)
    work()
    sampled = client.get(f"/datasets/{asked['proxy']['dataset']}").json()
    expected = {"csv": "csv", "tsv": "csv", "parquet": "parquet", "json": "jsonl"}[container]
    assert (sampled["format"], sampled["rows_usable"]) == (expected, 99)
    written = records(sampled["id"], blobs)
    assert out_of_container(written, expected) == [rows[row] for row in asked["sample"]["rows"]]


def test_data_that_is_sent_along_is_read_first_and_then_sampled(
    client: TestClient, work: Callable[[], None]
) -> None:
    content = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    again = {"content": content, "params": ASK, "headers": {"Idempotency-Key": "trust-1"}}
    early = client.post("/trust", **again)  # type: ignore[arg-type]
    assert (early.status_code, early.json()["code"]) == (409, "dataset_not_ready")
    assert early.headers["Retry-After"] == "2"
    (dataset,) = client.get("/datasets").json()["data"]
    assert dataset["id"] in early.json()["detail"]
    work()
    first, second = (client.post("/trust", **again) for _ in range(2))  # type: ignore[arg-type]
    assert first.status_code == 202
    assert first.json()["sample"]["dataset"] == dataset["id"]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.json() == first.json()
    assert len(client.get("/runs").json()["data"]) == 2
    assert len(client.get("/datasets").json()["data"]) == 2


def test_a_request_that_has_its_answer_draws_no_sample_again(
    client: TestClient, dataset: str, blobs: Blobs, work: Callable[[], None]
) -> None:
    again = {"json": ASK | {"dataset": dataset}, "headers": {"Idempotency-Key": "trust-3"}}
    first = client.post("/trust", **again)  # type: ignore[arg-type]
    work()
    blobs.delete_tree(f"datasets/{dataset}/rows")
    before = blobs.find("datasets")
    second = client.post("/trust", **again)  # type: ignore[arg-type]
    assert (second.status_code, second.json()) == (202, first.json())
    assert second.headers["Idempotent-Replayed"] == "true"
    assert blobs.find("datasets") == before


def test_nothing_is_left_of_a_request_that_is_refused(
    client: TestClient, dataset: str, blobs: Blobs
) -> None:
    before = blobs.find("datasets")
    key = {"Idempotency-Key": "trust-2"}
    assert client.post("/trust", json=ASK | {"dataset": dataset}, headers=key).status_code == 202
    between = blobs.find("datasets")
    other = ASK | {"dataset": dataset, "seed": 5}
    assert client.post("/trust", json=other, headers=key).status_code == 422
    assert blobs.find("datasets") == between != before


@pytest.mark.parametrize(
    ("options", "status", "param"),
    [
        ({"target": None}, 422, "target"),
        ({"target": "winnow-mini"}, 422, "target"),
        ({"target": "gpt2"}, 422, "target"),
        ({"proxy": "gpt2"}, 422, "proxy"),
        ({"proxy": "ft:winnow-mini::abc"}, 404, "proxy"),
        ({"proxy": "winnow-large"}, 422, "target"),
        ({"sample": 10}, 422, "sample"),
        ({"sample": 2001}, 422, "sample"),
        ({"seed": -1}, 422, "seed"),
        ({"epoch": 2}, 422, "epoch"),
        ({"model": "winnow-mini"}, 422, "model"),
        ({"dry_run": True}, 422, "dry_run"),
        ({"checkpoints": "mine"}, 422, "checkpoints"),
        ({"embeddings": True}, 422, "embeddings"),
        ({"dataset": "ds_none"}, 404, None),
    ],
    ids=str,
)
def test_what_cannot_be_met_is_named(
    client: TestClient, dataset: str, options: dict[str, Any], status: int, param: str | None
) -> None:
    body = {"dataset": dataset} | ASK | options
    answer = client.post(
        "/trust", json={name: body[name] for name in body if body[name] is not None}
    )
    assert (answer.status_code, answer.json()["param"]) == (status, param), answer.text
    assert client.get("/runs").json()["data"] == []


def test_a_dataset_without_rows_to_draw_is_refused(
    client: TestClient, work: Callable[[], None]
) -> None:
    empty = client.post("/datasets", json=[BAD]).json()["id"]
    broken = client.post("/datasets", content=b'[{"instruction": "a", "output": "b"}').json()["id"]
    work()
    answer = client.post("/trust", json=ASK | {"dataset": empty})
    assert (answer.status_code, answer.json()["code"]) == (422, "no_usable_rows")
    answer = client.post("/trust", json=ASK | {"dataset": broken})
    assert (answer.status_code, answer.json()["param"]) == (422, "dataset")
    assert client.post("/trust", params=ASK).json()["param"] == "dataset"


def test_a_report_is_of_one_dataset_one_method_and_few_rows(
    client: TestClient, work: Callable[[], None]
) -> None:
    def run(rows: list[dict[str, str]], **options: str) -> str:
        started: str = client.post("/score", json=rows, params=options).json()["id"]
        return started

    ours, other_data = run(ROWS), run(ROWS[:100])
    other_measure = run(ROWS, statistic="loss_ratio")
    many = run([*ROWS] * 11)
    work()
    for first, second, param in (
        (ours, other_data, "other_id"),
        (ours, other_measure, "other_id"),
        (many, many, "run_id"),
    ):
        answer = client.get(f"/runs/{first}/trust/{second}")
        assert (answer.status_code, answer.json()["param"]) == (422, param), answer.text
    assert client.get(f"/runs/{ours}/trust/{ours}").json()["verdict"] == "strong"


def in_container(rows: list[dict[str, str]], container: str) -> bytes:
    if container == "json":
        return json.dumps(rows).encode()
    if container == "parquet":
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), file)
        return file.getvalue()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0], delimiter="\t" if container == "tsv" else ",")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def out_of_container(content: bytes, container: str) -> list[dict[str, str]]:
    if container == "parquet":
        rows: list[dict[str, str]] = pq.read_table(io.BytesIO(content)).to_pylist()
        return rows
    if container == "csv":
        return list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    return [json.loads(line) for line in content.splitlines()]
