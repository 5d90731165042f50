"""Every route, asked by nobody, by its owner and by another owner. A route without a case here fails the suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from service.app import create_app
from tests.service.conftest import RECORDS
from winnow.settings import Settings
from winnow.store.session import Database
from winnow.store.tables import webhook_endpoint


class Case(NamedTuple):
    """A request on alice's objects, what she gets, and what bob gets for the very same request."""

    method: str
    path: str
    alice: int
    bob: int
    send: Mapping[str, Any] = MappingProxyType({})


DATA = {"content": b'{"instruction": "bob asks", "output": "alice answers"}'}
FILE = {"files": {"file": ("train.jsonl", DATA["content"]), "purpose": (None, "fine-tune")}}
TRAINING = {"content": b'{"action": "START_TRAINING"}'}
ON_FILE = {"json": {"model": "winnow-mini", "training_file": "{file_id}"}}
ON_SUBSET = {"json": {"model": "winnow-mini", "training_file": "subset:{run_id}?ratio=0.5"}}
CASES = [
    Case("POST", "/score", 202, 202, DATA),
    Case("POST", "/score?dataset={dataset_id}", 202, 404),
    Case("GET", "/runs", 200, 200),
    Case("GET", "/runs?after={run_id}", 200, 404),
    Case("GET", "/runs/{run_id}", 200, 404),
    Case("GET", "/runs/{run_id}/events", 200, 404),
    Case("GET", "/runs/{run_id}/scores", 200, 404),
    Case("GET", "/runs/{run_id}/scores?format=jsonl", 200, 404),
    Case("GET", "/runs/{run_id}/histogram", 200, 404),
    Case("GET", "/runs/{run_id}/rows", 200, 404),
    Case("GET", "/runs/{run_id}/rows/{row}", 200, 404),
    Case("GET", "/runs/{run_id}/points", 200, 404),
    Case("GET", "/runs/{run_id}/sources", 200, 404),
    Case("GET", "/runs/{run_id}/clusters", 200, 404),
    Case("GET", "/runs/{run_id}/report", 200, 404),
    Case("GET", "/runs/{run_id}/agreement/{other_id}", 200, 404),
    Case("GET", "/runs/{run_id}/trust/{other_id}", 200, 404),
    Case("POST", "/runs/{run_id}/cancel", 409, 404),
    Case("DELETE", "/runs/{run_id}", 204, 404),
    Case("GET", "/subsets?ratio=0.5", 200, 404),
    Case("GET", "/subsets?ratio=0.5&run={run_id}", 200, 404),
    Case("GET", "/subsets?ratio=0.5&dataset={dataset_id}", 200, 404),
    Case("HEAD", "/subsets?ratio=0.5&run={run_id}", 200, 404),
    Case("GET", "/subsets/manifest?ratio=0.5&run={run_id}", 200, 404),
    Case("POST", "/datasets", 202, 202, DATA),
    Case("GET", "/datasets", 200, 200),
    Case("GET", "/datasets?after={dataset_id}", 200, 404),
    Case("GET", "/datasets/{dataset_id}", 200, 404),
    Case("GET", "/datasets/{dataset_id}/rejections", 200, 404),
    Case("DELETE", "/datasets/{dataset_id}", 204, 404),
    Case("POST", "/trust?target=winnow-large", 409, 409, DATA),
    Case("POST", "/trust?target=winnow-large&dataset={dataset_id}", 202, 404),
    Case("GET", "/trajectories", 200, 200),
    Case("GET", "/trajectories?after={trajectory_id}", 200, 404),
    Case("GET", "/trajectories/{trajectory_id}", 200, 404),
    Case("GET", "/trajectories/{trajectory_id}/events", 200, 404),
    Case("GET", "/trajectories/{trajectory_id}/losses", 409, 404),
    Case("POST", "/trajectories/{trajectory_id}/cancel", 200, 404),
    Case("DELETE", "/trajectories/{trajectory_id}", 409, 404),
    Case("GET", "/models", 200, 200),
    Case("GET", "/v1/models", 200, 200),
    Case("POST", "/v1/files", 200, 200, FILE),
    Case("GET", "/v1/files", 200, 200),
    Case("GET", "/v1/files?after={file_id}", 200, 404),
    Case("GET", "/v1/files/{file_id}", 200, 404),
    Case("GET", "/v1/files/{file_id}/content", 200, 404),
    Case("HEAD", "/v1/files/{file_id}/content", 200, 404),
    Case("DELETE", "/v1/files/{file_id}", 200, 404),
    Case("POST", "/v1/fine_tuning/jobs", 200, 404, ON_FILE),
    Case("POST", "/v1/fine_tuning/jobs", 200, 404, ON_SUBSET),
    Case("GET", "/v1/fine_tuning/jobs", 200, 200),
    Case("GET", "/v1/fine_tuning/jobs?after={job_id}", 200, 404),
    Case("GET", "/v1/fine_tuning/jobs/{job_id}", 200, 404),
    Case("GET", "/v1/fine_tuning/jobs/{job_id}/events", 200, 404),
    Case("GET", "/v1/fine_tuning/jobs/{job_id}/checkpoints", 200, 404),
    Case("POST", "/v1/fine_tuning/jobs/{job_id}/cancel", 200, 404),
    Case("POST", "/v1/fine_tuning/jobs/{job_id}/pause", 200, 404),
    Case("POST", "/v1/fine_tuning/jobs/{job_id}/resume", 200, 404),
    Case("POST", "/label-studio/{target}/setup", 200, 404, {"content": b"{}"}),
    Case("POST", "/label-studio/{target}/predict", 200, 404, {"content": b'{"tasks": []}'}),
    Case("GET", "/label-studio/{target}/versions", 200, 404),
    Case("POST", "/label-studio/{target}/webhook", 201, 404, TRAINING),
    Case("GET", "/webhooks/secret", 200, 404),
    Case("POST", "/webhooks/secret/rotate", 201, 201),
    Case("GET", "/webhooks/endpoints", 200, 200),
    Case("GET", "/webhooks/endpoints?after={endpoint_id}", 200, 404),
    Case("POST", "/webhooks/endpoints/{endpoint_id}/enable", 200, 404),
    Case("GET", "/webhooks/deliveries", 200, 200),
    Case("GET", "/webhooks/deliveries?after={delivery_id}", 200, 404),
    Case("GET", "/webhooks/deliveries?subject={told_id}", 200, 404),
    Case("GET", "/webhooks/deliveries/{delivery_id}", 200, 404),
    Case("POST", "/webhooks/deliveries/{delivery_id}/replay", 202, 404),
]
OPEN = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/docs",
    "/docs/start.js",
    "/openapi.json",
    "/label-studio/{target}/health",
]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An installation with two models, so that one can stand for the other."""
    return settings.model_copy(update={"models": ("winnow-mini", "winnow-large")})


@pytest.fixture
def trajectory(client: TestClient, work: Callable[[], None]) -> str:
    """A trajectory of alice, to be trained."""
    run = client.post("/score?method=s2l", json=RECORDS).json()
    work()
    found: str = client.get(f"/runs/{run['id']}").json()["trajectory"]
    return found


@pytest.fixture
def told(client: TestClient, database: Database) -> dict[str, str]:
    """A job of alice that ended and whose receiver is told, with that receiver and her secret."""
    client.post("/webhooks/secret/rotate")
    file_id = client.post("/v1/files", **FILE).json()["id"]
    url = "https://hooks.example/"
    asked = {"model": "winnow-mini", "training_file": file_id, "winnow": {"webhook_url": url}}
    job_id = client.post("/v1/fine_tuning/jobs", json=asked).json()["id"]
    client.post(f"/v1/fine_tuning/jobs/{job_id}/cancel")
    (delivery,) = client.get("/webhooks/deliveries").json()["data"]
    endpoint = {"id": "whep_1", "owner": "alice", "url": url}
    with database.transaction() as connection:
        connection.execute(webhook_endpoint.insert().values(endpoint))
    return {"told_id": job_id, "delivery_id": delivery["id"], "endpoint_id": endpoint["id"]}


@pytest.fixture
def ids(
    client: TestClient, trajectory: str, finished_run: dict[str, Any], told: dict[str, str]
) -> dict[str, str]:
    """One of each of alice's objects."""
    file_id = client.post("/v1/files", **FILE).json()["id"]
    asked = {"model": "winnow-mini", "training_file": file_id}
    return told | {
        "run_id": finished_run["id"],
        "other_id": finished_run["id"],
        "row": "0",
        "target": finished_run["id"],
        "dataset_id": finished_run["dataset"],
        "trajectory_id": trajectory,
        "file_id": file_id,
        "job_id": client.post("/v1/fine_tuning/jobs", json=asked).json()["id"],
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path}")
def test_what_belongs_to_another_owner_does_not_exist(
    client: TestClient, bob: dict[str, str], ids: dict[str, str], case: Case
) -> None:
    path = case.path.format(**ids)
    send = filled(case.send, ids)
    anonymous = client.request(case.method, path, headers={"Authorization": ""}, **send)
    assert anonymous.status_code == 401
    assert anonymous.headers["WWW-Authenticate"] == "Bearer"
    stranger = client.request(case.method, path, headers=bob, **send)
    assert stranger.status_code == case.bob, stranger.text
    if case.method == "GET" and case.bob == 200 and not case.path.endswith("/models"):
        assert stranger.json()["data"] == []
    owner = client.request(case.method, path, **send)
    assert owner.status_code == case.alice, owner.text


def test_every_route_has_a_case(app: FastAPI) -> None:
    asked = {(case.method, case.path.partition("?")[0]) for case in CASES}
    open_ = {("GET", path) for path in [*OPEN, "/assets/{name}", "/docs/{name}"]}
    assert {route for route in routes(app.routes) if route not in asked} == open_


@pytest.mark.parametrize("path", OPEN)
def test_operators_and_machines_need_no_key(client: TestClient, path: str) -> None:
    assert client.get(path, headers={"Authorization": ""}).status_code == 200


@pytest.mark.parametrize("value", ["Bearer winnow_sk_wrong", "Basic YTpi", "Bearer", "Bearer \xff"])
def test_a_key_that_is_none_is_refused(client: TestClient, value: str) -> None:
    answer = client.get("/runs", headers={"Authorization": value.encode("latin-1")})
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


def test_the_same_bytes_of_two_owners_are_two_datasets(
    client: TestClient, bob: dict[str, str]
) -> None:
    ours, theirs = (client.post("/datasets", headers=who, **DATA).json() for who in ({}, bob))
    assert ours["sha256"] == theirs["sha256"]
    assert ours["id"] != theirs["id"]


def test_the_embedded_mode_knows_one_owner_and_no_keys(settings: Settings) -> None:
    assert settings.database_url is not None
    embedded = create_app(settings.embedded_at(settings.database_url))
    with TestClient(embedded) as client:
        run = client.post("/score", **DATA).json()
        assert [each["id"] for each in client.get("/runs").json()["data"]] == [run["id"]]


def filled(send: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """What is sent, with alice's ids in a JSON body."""
    if "json" not in send:
        return dict(send)
    return {"json": {name: value.format(**ids) for name, value in send["json"].items()}}


def routes(of: list[Any]) -> Iterator[tuple[str, str]]:
    """Method and path of every route, those of included routers too."""
    for route in of:
        if hasattr(route, "original_router"):
            yield from routes(route.original_router.routes)
        else:
            documented = (
                route.methods - {"HEAD"} if not isinstance(route, APIRoute) else route.methods
            )
            path = route.path.replace(":path}", "}")
            yield from ((method, path) for method in documented if "oauth2" not in path)
