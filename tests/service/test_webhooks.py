"""Webhooks over HTTP: whom to tell, what was sent, and what signs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from service.webhooks.schemas import FineTuneMessage, FineTuneOver, RunMessage, RunOver
from tests.service.conftest import RECORDS
from tests.webhooks.receiver import Receiver, Reply, receiving
from winnow.client import Client
from winnow.errors import NotFound
from winnow.settings import Settings
from winnow.webhooks.addresses import LOOPBACK
from winnow.webhooks.message import TYPES

PUBLIC = "https://hooks.example/winnow"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An installation whose receivers may be on this machine."""
    return settings.model_copy(update={"webhook_networks": LOOPBACK})


def started(client: TestClient, url: str) -> dict[str, Any]:
    answer = client.post("/score", json=RECORDS, params={"webhook_url": url})
    assert answer.status_code == 202, answer.text
    run: dict[str, Any] = answer.json()
    return run


def cancelled_job(client: TestClient, url: str = PUBLIC, **options: Any) -> dict[str, Any]:
    upload = {"file": ("train.jsonl", b'{"instruction": "a", "output": "b"}\n')}
    form = upload | {"purpose": (None, "fine-tune")}
    file_id = client.post("/v1/files", files=form).json()["id"]
    asked = {"model": "winnow-mini", "training_file": file_id, "winnow": {"webhook_url": url}}
    job = client.post("/v1/fine_tuning/jobs", json=asked | options).json()
    cancelled: dict[str, Any] = client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel").json()
    return cancelled


def deliveries(client: TestClient, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/webhooks/deliveries", params=params).json()["data"]
    return found


def test_a_message_is_the_run_as_the_api_shows_it(
    client: TestClient, work: Callable[[], None], receiver: Receiver
) -> None:
    secret = client.post("/webhooks/secret/rotate").json()["secret"]
    run = started(client, receiver.url)
    assert run["webhook_url"] == receiver.url
    work()
    message = receiver.received[0].verified(secret)
    RunMessage.model_validate(message)
    shown = client.get(f"/runs/{run['id']}").json()
    assert shown["status"] == "completed"
    assert {name: shown[name] for name in RunOver.model_fields} == message["data"]
    (delivery,) = deliveries(client, subject=run["id"], status="delivered")
    whole = client.get(f"/webhooks/deliveries/{delivery['id']}").json()
    assert whole["body"].encode() == receiver.received[0].body
    assert delivery["attempts"][0]["status_code"] == 204


def test_a_message_is_the_job_as_the_api_shows_it(client: TestClient) -> None:
    job = cancelled_job(client, metadata={"team": "ä"})
    assert job["winnow"]["webhook_url"] == PUBLIC
    assert "webhook_url" not in job["winnow"]["options"]
    (delivery,) = deliveries(client, subject=job["id"])
    body = client.get(f"/webhooks/deliveries/{delivery['id']}").json()["body"]
    data = FineTuneMessage.model_validate_json(body).data
    assert data.model_dump() == {name: job[name] for name in FineTuneOver.model_fields}


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "ftp://example.com/", "https://a:b@c.example"])
def test_a_url_that_could_never_be_told_anything_is_422(client: TestClient, url: str) -> None:
    for answer in (
        client.post("/score", json=RECORDS, params={"webhook_url": url}),
        client.post("/score", json={"records": RECORDS, "webhook_url": url}),
        client.post(
            "/v1/fine_tuning/jobs",
            json={
                "model": "winnow-mini",
                "training_file": "file-1",
                "winnow": {"webhook_url": url},
            },
        ),
    ):
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (422, "invalid_option")
        assert problem["param"] == "webhook_url"
    assert client.get("/runs").json()["data"] == []


def test_a_secret_is_shown_once_and_two_are_valid_after_a_rotation(
    client: TestClient, work: Callable[[], None], receiver: Receiver
) -> None:
    assert client.get("/webhooks/secret").status_code == 404
    key = {"Idempotency-Key": "first"}
    first = client.post("/webhooks/secret/rotate", headers=key)
    assert first.status_code == 201
    assert client.post("/webhooks/secret/rotate", headers=key).json() == first.json()
    second = client.post("/webhooks/secret/rotate").json()
    secrets = [first.json()["secret"], second["secret"]]
    assert all(secret.startswith("whsec_") for secret in secrets)
    shown = client.get("/webhooks/secret")
    assert not any(secret in shown.text for secret in secrets)
    assert [shown.json()["previous_hint"], shown.json()["hint"]] == [s[:10] for s in secrets]
    started(client, receiver.url)
    work()
    assert all(receiver.received[0].verified(secret) for secret in secrets)


def test_a_message_is_signed_before_anybody_has_asked_for_the_secret(
    client: TestClient, work: Callable[[], None], receiver: Receiver
) -> None:
    started(client, receiver.url)
    work()
    assert receiver.received[0].headers["webhook-signature"].startswith("v1,")
    assert client.get("/webhooks/secret").status_code == 200


def test_a_disabled_endpoint_is_listed_enabled_and_caught_up_with(
    client: TestClient, work: Callable[[], None], receiver: Receiver
) -> None:
    receiver.replies = [Reply(410), Reply(200)]
    started(client, receiver.url)
    work()
    (endpoint,) = client.get("/webhooks/endpoints").json()["data"]
    assert (endpoint["status"], endpoint["disabled_reason"]) == ("disabled", "gone")
    (delivery,) = deliveries(client, status="failed")
    path = f"/webhooks/deliveries/{delivery['id']}/replay"
    refused = client.post(path)
    assert (refused.status_code, refused.headers["x-should-retry"]) == (409, "false")
    enabled = client.post(f"/webhooks/endpoints/{endpoint['id']}/enable").json()
    assert (enabled["status"], enabled["disabled_at"]) == ("enabled", None)
    again = client.post(path)
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    work()
    assert [len(each["attempts"]) for each in deliveries(client, status="delivered")] == [2]


def test_deliveries_are_read_page_by_page(client: TestClient) -> None:
    jobs = [cancelled_job(client)["id"] for _ in range(3)]
    first = client.get("/webhooks/deliveries", params={"limit": 2}).json()
    last = first["data"][-1]["id"]
    rest = client.get("/webhooks/deliveries", params={"limit": 2, "after": last}).json()
    subjects = [each["subject"] for each in [*first["data"], *rest["data"]]]
    assert (subjects, first["has_more"], rest["has_more"]) == (jobs[::-1], True, False)


def test_the_client_reads_and_replays_deliveries(live: httpx.Client) -> None:
    key = live.headers["Authorization"].removeprefix("Bearer ")
    with Client(str(live.base_url), key) as winnow:
        assert winnow.rotate_webhook_secret().startswith("whsec_")
        data = [{"instruction": "a", "output": "b"}]
        run = winnow.score(data, webhook_url=PUBLIC)
        job = winnow.fine_tune(data, webhook_url=PUBLIC)
        winnow.cancel(run.id)
        winnow.cancel_job(job.id)
        made = {each["subject"]: each for each in winnow.webhook_deliveries()}
        assert set(made) == {run.id, job.id}
        assert list(winnow.webhook_deliveries(subject=run.id)) == [made[run.id]]
        assert winnow.replay_webhook_delivery(made[run.id]["id"])["status"] == "pending"
        assert list(winnow.webhook_endpoints()) == []
        with pytest.raises(NotFound):
            winnow.enable_webhook_endpoint("whep_none")


def test_the_document_says_what_receivers_are_sent(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["webhooks"]) == set(TYPES)
    told = document["webhooks"]["run.completed"]["post"]
    assert {each["name"] for each in told["parameters"]} == {
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }
    schema = told["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/RunMessage"}
    assert "RunOver" in document["components"]["schemas"]
