"""What operators and tools rely on: the document, the figures, the ids, the log, and a broker that may be away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from fastapi import FastAPI
from fastapi.openapi.models import OpenAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app
from service.publisher import Publisher
from winnow.errors import ConfigurationError
from winnow.messages import RUN_WORK, Wakeup
from winnow.settings import Settings
from winnow.store import migrate

JSONL = b'{"instruction": "a", "output": "b"}\n'


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def test_the_document_is_valid_and_complete(app: FastAPI) -> None:
    document = app.openapi()
    OpenAPI.model_validate(document)
    ids = [operation["operationId"] for operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for operation in operations(document):
        assert operation["tags"]
        assert operation["summary"]
        assert operation["description"]
        for status in ("4XX", "5XX"):
            assert "application/problem+json" in operation["responses"][status]["content"]
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    schemas = document["components"]["schemas"]
    used = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert used <= schemas.keys()


def test_the_document_shows_how_a_dataset_is_sent(app: FastAPI) -> None:
    body = app.openapi()["paths"]["/score"]["post"]["requestBody"]["content"]
    assert {
        "multipart/form-data",
        "application/json",
        "application/jsonl",
        "text/csv",
    } <= body.keys()
    assert body["application/json"]["examples"]["stored"]["value"]["dataset"].startswith("ds_")


def test_a_request_keeps_the_id_it_came_with_if_it_is_harmless(client: TestClient) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "a-1"}).headers["X-Request-ID"] == "a-1"
    for odd in ("x" * 500, "a b", "<script>"):
        assert client.get("/healthz", headers={"X-Request-ID": odd}).headers["X-Request-ID"] != odd
    first, second = (client.get("/healthz").headers["X-Request-ID"] for _ in range(2))
    assert first != second


def test_figures_count_requests_by_route_and_work_by_state(client: TestClient) -> None:
    run = client.post("/score", content=JSONL).json()
    client.get(f"/runs/{run['id']}")
    client.get("/runs/run_none")
    client.get("/nowhere")
    text = client.get("/metrics").text
    assert run["id"] not in text
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    def requests(method: str, route: str, status: str) -> float | None:
        labels = sorted({"method": method, "route": route, "status": status}.items())
        return found.get(("winnow_requests_total", *labels))

    assert requests("POST", "/score", "202") == 1
    assert requests("GET", "/runs/{run_id}", "200") == 1
    assert requests("GET", "/runs/{run_id}", "404") == 1
    assert requests("GET", "unmatched", "404") == 1
    assert found["winnow_runs", ("status", "queued")] == 1
    assert found["winnow_work_units", ("kind", "ingest"), ("queue", "io"), ("state", "queued")] == 1


def test_two_applications_count_for_themselves(settings: Settings) -> None:
    with TestClient(create_app(settings)) as one, TestClient(create_app(settings)) as two:
        one.get("/healthz")
        assert 'route="/healthz"' in one.get("/metrics").text
        assert 'route="/healthz"' not in two.get("/metrics").text


def test_ready_means_migrated_and_connected(client: TestClient, settings: Settings) -> None:
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {
        "ready": True,
        "checks": {"database": "ok", "migrations": "ok", "blobs": "ok"},
    }
    assert settings.database_url is not None
    migrate.downgrade(settings.database_url, "base")
    try:
        behind = client.get("/readyz")
        assert behind.status_code == 503
        assert "winnow db upgrade" in behind.json()["checks"]["migrations"]
    finally:
        migrate.upgrade(settings.database_url)


def test_a_wake_up_reaches_the_queue_of_its_work(settings: Settings) -> None:
    publisher = Publisher(settings)
    publisher.publish([Wakeup(work_id=7, queue="io")])
    publisher.close()
    assert settings.broker_url is not None
    with redis.Redis.from_url(settings.broker_url) as broker:
        (message,) = broker.lrange("io", 0, -1)
    headers = json.loads(message)["headers"]
    assert (headers["task"], headers["argsrepr"]) == (RUN_WORK, "[7]")


def test_a_run_starts_though_the_broker_is_away(
    settings: Settings, make_key: Callable[[str], str]
) -> None:
    away = settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    headers = {"Authorization": f"Bearer {make_key('alice')}"}
    with TestClient(create_app(away), headers=headers) as client:
        started = time.monotonic()
        assert client.post("/score", content=JSONL).status_code == 202
        assert time.monotonic() - started < 5
        assert client.get("/runs").json()["data"][0]["status"] == "queued"


@pytest.mark.parametrize("name", ["database_url", "broker_url", "blob_url"])
def test_a_gateway_without_a_place_to_keep_things_is_refused(settings: Settings, name: str) -> None:
    with pytest.raises(ConfigurationError):
        create_app(settings.model_copy(update={name: None}))
