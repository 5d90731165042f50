"""Every way in which a dataset may come to POST /score, and the ones that are refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from fastapi.testclient import TestClient

from winnow.store.blobs import Blobs

ROWS = [
    {"instruction": "Name a colour", "input": "", "output": "Red"},
    {"instruction": "Name a tree", "input": "", "output": "Oak"},
]
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
ARRAY = json.dumps(ROWS, indent=1).encode()


def delimited(delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(ROWS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode()


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), file)
    return file.getvalue()


BODIES = {
    "json": ARRAY,
    "jsonl": JSONL,
    "one line of jsonl": JSONL.splitlines()[0],
    "csv": delimited(","),
    "tsv": delimited("\t"),
    "parquet": parquet(),
    "gzip": gzip.compress(JSONL),
    "zstd": zstandard.compress(ARRAY),
    "a row that names its dataset": b'{"dataset": "flan", "instruction": "a", "output": "b"}\n' * 2,
}
CONTENT_TYPES = ["application/x-www-form-urlencoded", "application/json", "text/plain", None]


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
@pytest.mark.parametrize("kind", BODIES)
def test_a_raw_body_is_known_by_its_bytes_whatever_its_content_type(
    client: TestClient, work: Callable[[], None], kind: str, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = client.post("/score", content=BODIES[kind], headers=headers)
    assert answer.status_code == 202, answer.text
    work()
    dataset = client.get(f"/datasets/{answer.json()['dataset']}").json()
    assert dataset["status"] == "ready"
    assert dataset["rows_usable"] == (1 if kind == "one line of jsonl" else 2)


def test_the_answer_says_where_to_look_and_when(client: TestClient) -> None:
    answer = client.post("/score", content=JSONL)
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/runs/{answer.json()['id']}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["status"] == "queued"


def test_a_multipart_file_takes_options_as_fields_before_and_after_it(client: TestClient) -> None:
    boundary = b"frontier"
    parts = [
        b'Content-Disposition: form-data; name="template"\r\n\r\nalpaca',
        b'Content-Disposition: form-data; name="file"; filename="d.jsonl"\r\n\r\n' + JSONL,
        b'Content-Disposition: form-data; name="name"\r\n\r\nmine',
    ]
    body = b"".join(b"--frontier\r\n" + part + b"\r\n" for part in parts) + b"--frontier--\r\n"
    content_type = f"multipart/form-data; boundary={boundary.decode()}"
    run = client.post("/score", content=body, headers={"Content-Type": content_type}).json()
    assert run["options"]["template"] == "alpaca"
    assert run["name"] == "mine"


def test_a_multipart_file_gives_its_name_to_the_dataset_and_its_exact_bytes_to_the_store(
    client: TestClient, blobs: Blobs
) -> None:
    content = JSONL + b"\r\n--not a boundary\r\n" + JSONL * 5000
    run = client.post("/score", files={"file": ("set.jsonl", content)}).json()
    dataset = client.get(f"/datasets/{run['dataset']}").json()
    assert dataset["name"] == "set.jsonl"
    with blobs.open_read(f"datasets/{dataset['id']}/upload") as upload:
        assert upload.read() == content


def test_a_format_named_after_the_file_counts(client: TestClient) -> None:
    answer = client.post("/datasets", files={"file": JSONL}, data={"format": "parquet"})
    assert answer.status_code == 415
    answer = client.post("/datasets", files={"file": JSONL}, data={"format": "jsonl"})
    assert answer.json()["requested_format"] == "jsonl"


def test_records_in_a_json_object_are_stored_as_they_were_written(
    client: TestClient, blobs: Blobs
) -> None:
    array = '[ {"instruction":"a","output":"b","n":123456789012345678901234567890,"x":1.10} ]'
    body = f'{{"method": "ifd", "records": {array}, "seed": 7}}'
    run = client.post("/score", content=body, headers={"Content-Type": "application/json"}).json()
    assert run["options"]["seed"] == 7
    with blobs.open_read(f"datasets/{run['dataset']}/upload") as upload:
        assert upload.read().decode() == array


def test_many_records_in_a_json_object_are_told_from_data_by_the_head_alone(
    client: TestClient,
) -> None:
    rows = [{"instruction": f"Question {n}", "output": "Answer"} for n in range(5000)]
    assert client.post("/score", json={"seed": 1, "records": rows}).status_code == 202


@pytest.mark.parametrize(
    "send",
    [
        {"json": {"template": "alpaca"}},
        {"data": {"template": "alpaca"}},
        {"files": {"template": (None, "alpaca")}},
        {"params": {"template": "alpaca"}},
    ],
    ids=["json", "form", "multipart", "query"],
)
def test_a_stored_dataset_is_named_in_json_a_form_or_the_query(
    client: TestClient, send: dict[str, Any]
) -> None:
    dataset = client.post("/datasets", content=JSONL).json()
    ((where, options),) = send.items()
    named = (None, dataset["id"]) if where == "files" else dataset["id"]
    answer = client.post("/score", **{where: {**options, "dataset": named}})
    assert answer.status_code == 202, answer.text
    assert answer.json()["dataset"] == dataset["id"]
    assert answer.json()["options"]["template"] == "alpaca"


def test_content_encoding_gzip_means_a_gzip_file(client: TestClient) -> None:
    encoded = {"Content-Encoding": "gzip"}
    assert client.post("/score", content=gzip.compress(JSONL), headers=encoded).status_code == 202
    other = {"Content-Encoding": "br"}
    assert client.post("/score", content=JSONL, headers=other).status_code == 415


def test_the_same_bytes_are_one_dataset_and_always_a_new_run(client: TestClient) -> None:
    first, second = (client.post("/score", content=JSONL).json() for _ in range(2))
    assert first["dataset"] == second["dataset"]
    assert first["id"] != second["id"]


def test_options_reach_the_run_and_the_rest_are_the_installations(client: TestClient) -> None:
    options = {
        "template": "chat",
        "dtype": "bfloat16",
        "max_length": 128,
        "statistic": "loss_ratio",
    }
    run = client.post("/score", content=JSONL, params=options).json()
    assert run["options"] == {
        "method": "ifd",
        "model": "winnow-mini",
        "engine": "torch",
        "dtype": "bfloat16",
        "template": "chat",
        "convention": "paired",
        "statistic": "loss_ratio",
        "max_length": 128,
        "token_budget": 1024,
        "seed": 42,
        "cache": True,
        "trajectory": None,
        "embeddings": None,
        "num_clusters": None,
        "epoch": 1,
        "compat": None,
    }
    assert run["revision"] is not None


@pytest.mark.parametrize(
    ("request_", "status", "code", "param"),
    [
        ({"params": {"metod": "ifd"}, "content": JSONL}, 422, "invalid_option", "metod"),
        ({"json": {"records": ROWS, "metod": "ifd"}}, 422, "invalid_option", "metod"),
        ({"files": {"file": JSONL}, "data": {"metod": "x"}}, 422, "invalid_option", "metod"),
        ({"params": {"template": "prose"}, "content": JSONL}, 422, "invalid_option", "template"),
        ({"params": {"model": "gpt2"}, "content": JSONL}, 422, "model_not_allowed", "model"),
        ({"params": {"max_length": 2}, "content": JSONL}, 422, "invalid_option", "max_length"),
        (
            {"params": {"seed": 1}, "json": {"records": ROWS, "seed": 2}},
            422,
            "invalid_option",
            "seed",
        ),
        ({"params": {"format": "xml"}, "content": JSONL}, 422, "invalid_option", "format"),
        ({"content": b""}, 422, "invalid_option", "dataset"),
        ({"json": {"dataset": "ds_1", "records": ROWS}}, 422, "invalid_option", "dataset"),
        ({"json": {"dataset": "ds_none"}}, 404, "not_found", None),
        ({"files": {"data": ("d.jsonl", JSONL)}}, 422, "invalid_option", "file"),
        ({"files": [("file", JSONL), ("file", JSONL)]}, 422, "invalid_option", "file"),
        ({"files": {"file": b""}}, 415, "unknown_format", None),
        ({"content": b"PK\x03\x04zip"}, 415, "unknown_format", None),
        ({"content": b'{"dataset": "ds_1", '}, 422, "invalid_input", None),
        ({"content": b'{"dataset": ' + b"[" * 100_000}, 422, "invalid_input", None),
        (
            {
                "content": b"--x\r\nbroken",
                "headers": {"Content-Type": "multipart/form-data; boundary=x"},
            },
            422,
            "invalid_input",
            None,
        ),
        (
            {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
            422,
            "invalid_input",
            None,
        ),
        (
            {
                "content": b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + JSONL,
                "headers": {"Content-Type": "multipart/form-data; boundary=x"},
            },
            422,
            "invalid_input",
            None,
        ),
    ],
)
def test_what_is_wrong_is_named_and_leaves_nothing_behind(
    client: TestClient,
    blobs: Blobs,
    request_: dict[str, Any],
    status: int,
    code: str,
    param: str | None,
) -> None:
    answer = client.post("/score", **request_)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["param"] == param
    assert client.get("/runs").json()["data"] == []
    assert client.get("/datasets").json()["data"] == []
    assert blobs.fs.find(blobs.root) == []


def test_records_beyond_what_is_held_in_memory_belong_into_a_file(client: TestClient) -> None:
    rows = [{"instruction": "x" * 1000, "output": "y"}] * 17_000
    answer = client.post("/score", json={"records": rows})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "file" in answer.json()["detail"]
