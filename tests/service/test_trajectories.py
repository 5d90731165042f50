"""Trajectories over HTTP: what a proxy's fine-tune says of every row, and the runs that share it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from tests.service.conftest import RECORDS
from tests.service.learning import OPTIONS, STEPS, Trainer
from tests.service.test_events import STREAM, messages
from winnow.store.session import Database
from winnow.store.tables import fine_tune

Learned = Callable[..., dict[str, Any]]


@pytest.fixture
def waiting(client: TestClient, work: Callable[[], None]) -> dict[str, Any]:
    """A run whose trajectory is to be trained."""
    started = client.post("/score", json=RECORDS, params=OPTIONS | {"method": "s2l"}).json()
    work()
    run: dict[str, Any] = client.get(f"/runs/{started['id']}").json()
    assert run["status"] == "training"
    return run


def test_a_run_says_which_trajectory_it_waits_for(
    client: TestClient, waiting: dict[str, Any]
) -> None:
    trajectory = client.get(waiting["links"]["trajectory"]).json()
    assert trajectory["id"] == waiting["trajectory"]
    assert (trajectory["status"], trajectory["dataset"]) == ("queued", waiting["dataset"])
    assert "--queues train" in trajectory["waits_for"]
    assert trajectory["waits_for"] == waiting["waits_for"]
    assert trajectory["options"] == waiting["options"]["trajectory"]
    assert trajectory["options"]["learning_rate"] == "auto"
    assert trajectory["training"]["hyperparameters"] == {}


def test_a_trajectory_tells_how_far_it_is(
    client: TestClient, waiting: dict[str, Any], trainer: Trainer
) -> None:
    path = f"/trajectories/{waiting['trajectory']}"
    trainer.begin(waiting["trajectory"])
    begun = client.get(path).json()
    assert (begun["status"], begun["training"]["status"]) == ("training", "running")
    assert begun["training"]["hyperparameters"]["learning_rate"] == 0.01
    assert begun["counts"] == {
        "rows": len(RECORDS),
        "blocks": 1,
        "checkpoints": len(STEPS),
        "checkpoints_done": 1,
        "rows_done": len(RECORDS),
    }
    (before,) = begun["checkpoints"]
    assert (before["step"], before["epoch"], before["point"]) == (0, 0, False)
    assert before["mean_loss"] > 0


def test_a_completed_trajectory_has_lost_its_weights_and_tells_every_loss(
    client: TestClient, learned: Learned
) -> None:
    trajectory = client.get(f"/trajectories/{learned(method='s2l')['trajectory']}").json()
    assert trajectory["status"] == "completed"
    checkpoints = trajectory["checkpoints"]
    assert tuple(one["step"] for one in checkpoints) == STEPS
    assert [one["epoch"] for one in checkpoints] == [0, None, 1, None, 2]
    assert [one["point"] for one in checkpoints] == [False, True, False, True, True]
    losses = [one["mean_loss"] for one in checkpoints]
    assert losses == sorted(losses, reverse=True)
    assert not any(one["weights"] for one in checkpoints)
    assert trajectory["waits_for"] is None


def test_weights_stay_if_they_are_asked_for(client: TestClient, learned: Learned) -> None:
    trajectory = client.get(
        f"/trajectories/{learned(method='s2l', keep_weights=True)['trajectory']}"
    ).json()
    assert trajectory["options"]["keep_weights"]
    assert [one["weights"] is None for one in trajectory["checkpoints"]] == [True, *[False] * 4]


def test_two_methods_share_one_trajectory(client: TestClient, learned: Learned) -> None:
    first, second = (learned(method=name) for name in ("learning_percentage", "s2l"))
    assert first["trajectory"] == second["trajectory"]
    other = learned(method="s2l", seed=7)
    assert other["trajectory"] != first["trajectory"]
    listed = client.get("/trajectories", params={"dataset": first["dataset"]}).json()["data"]
    assert [one["id"] for one in listed] == [other["trajectory"], first["trajectory"]]
    assert client.get("/trajectories?status=training").json()["data"] == []
    page = client.get("/trajectories?limit=1").json()
    assert page["has_more"]
    rest = client.get("/trajectories", params={"after": page["data"][0]["id"]}).json()
    assert [one["id"] for one in rest["data"]] == [first["trajectory"]]


def test_every_form_of_the_losses_says_the_same(client: TestClient, learned: Learned) -> None:
    path = f"/trajectories/{learned(method='s2l')['trajectory']}/losses"
    whole = {name: client.get(path, params={"format": name}) for name in ("jsonl", "csv")}
    whole["parquet"] = client.get(path)
    lines = [json.loads(line) for line in whole["jsonl"].text.splitlines()]
    assert [line["row"] for line in lines] == list(range(len(RECORDS)))
    columns = [f"loss_{step}" for step in STEPS]
    assert list(lines[0]) == ["row", "num_tokens", *columns, "flags"]
    table = pq.read_table(io.BytesIO(whole["parquet"].content))
    assert table.column_names == ["row", "num_tokens", *columns, "flags", "reason", "detail"]
    parsed = list(csv.DictReader(io.StringIO(whole["csv"].text)))
    for column in columns:
        losses = [line[column] for line in lines]
        assert table.column(column).to_pylist() == losses
        assert [float(line[column]) for line in parsed] == losses
    assert whole["csv"].headers["Content-Disposition"].endswith('-losses.csv"')


def test_a_row_without_losses_has_a_reason_in_every_form(
    client: TestClient, work: Callable[[], None], trainer: Trainer
) -> None:
    rows = [*RECORDS, {"instruction": "no answer"}]
    run = client.post("/score", json=rows, params=OPTIONS | {"method": "s2l"}).json()
    work()
    trajectory = client.get(f"/runs/{run['id']}").json()["trajectory"]
    trainer.train(trajectory)
    work()
    path = f"/trajectories/{trajectory}/losses"
    last = json.loads(client.get(f"{path}?format=jsonl").text.splitlines()[-1])
    assert last.keys() == {"row", "reason", "detail"}
    assert (last["row"], last["reason"]) == (20, "missing_field")
    parsed = list(csv.DictReader(io.StringIO(client.get(f"{path}?format=csv").text)))[-1]
    assert (parsed["reason"], parsed["loss_0"], parsed["flags"]) == ("missing_field", "", "")
    table = pq.read_table(io.BytesIO(client.get(path).content)).to_pylist()[-1]
    assert (table["reason"], table["loss_0"]) == ("missing_field", None)
    summary = client.get(f"/runs/{run['id']}").json()["counts"]
    assert (summary["rows_scored"], summary["rows_rejected"]) == (20, 1)


def test_losses_wait_for_the_last_checkpoint(client: TestClient, waiting: dict[str, Any]) -> None:
    path = f"/trajectories/{waiting['trajectory']}"
    answer = client.get(f"{path}/losses")
    assert (answer.status_code, answer.json()["code"]) == (409, "trajectory_not_ready")
    assert int(answer.headers["Retry-After"]) >= 1
    client.post(f"{path}/cancel")
    answer = client.get(f"{path}/losses")
    assert (answer.status_code, answer.json()["code"]) == (409, "run_not_usable")
    assert "Retry-After" not in answer.headers


def test_a_cancelled_trajectory_takes_its_runs_along(
    client: TestClient, waiting: dict[str, Any], work: Callable[[], None]
) -> None:
    path = f"/trajectories/{waiting['trajectory']}"
    for _ in range(2):
        assert client.post(f"{path}/cancel").json()["status"] == "cancelled"
    assert client.get(f"/runs/{waiting['id']}").json()["status"] == "cancelled"
    work()
    assert client.get(path).json()["status"] == "cancelled"


def test_the_last_run_to_be_cancelled_takes_its_trajectory_along(
    client: TestClient, waiting: dict[str, Any]
) -> None:
    asked = OPTIONS | {"method": "learning_percentage", "dataset": waiting["dataset"]}
    other = client.post("/score", params=asked).json()
    path = f"/trajectories/{waiting['trajectory']}"
    assert other["trajectory"] == waiting["trajectory"]
    client.post(f"/runs/{other['id']}/cancel")
    assert client.get(path).json()["status"] == "queued"
    client.post(f"/runs/{waiting['id']}/cancel")
    assert client.get(path).json()["status"] == "cancelled"


def test_a_completed_trajectory_cannot_be_cancelled(client: TestClient, learned: Learned) -> None:
    answer = client.post(f"/trajectories/{learned(method='s2l')['trajectory']}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_events_are_listed_and_streamed_to_the_end(client: TestClient, learned: Learned) -> None:
    path = f"/trajectories/{learned(method='s2l')['trajectory']}/events"
    listed = client.get(path).json()["data"]
    types = [event["type"] for event in listed]
    assert (types[0], types[-1]) == ("trajectory.queued", "trajectory.completed")
    assert types.count("trajectory.kept") == len(STEPS) - 1
    assert [event["seq"] for event in listed] == list(range(1, len(listed) + 1))
    whole = messages(client.get(path, headers=STREAM).text)
    numbered = [message for message in whole if "id" in message]
    assert [json.loads(message["data"]) for message in numbered] == listed
    (progress,) = (message for message in whole if message.get("event") == "progress")
    assert json.loads(progress["data"])["counts"]["checkpoints_done"] == len(STEPS)
    over = client.get(path, headers=STREAM | {"Last-Event-ID": str(len(listed))})
    assert (over.status_code, over.content) == (204, b"")


def test_a_deleted_dataset_takes_its_trajectories_along(
    client: TestClient, learned: Learned, work: Callable[[], None]
) -> None:
    run = learned(method="s2l")
    client.delete(f"/datasets/{run['dataset']}")
    assert client.get(f"/trajectories/{run['trajectory']}").status_code == 404
    assert client.get("/trajectories").json()["data"] == []
    work()


def test_a_trajectory_is_taken_away_once_no_run_waits_for_it(
    client: TestClient,
    learned: Learned,
    waiting: dict[str, Any],
    bob: dict[str, str],
    work: Callable[[], None],
) -> None:
    used = client.delete(f"/trajectories/{waiting['trajectory']}")
    assert (used.status_code, used.json()["code"]) == (409, "conflict")
    assert waiting["id"] in used.json()["detail"]
    run = learned(method="s2l", seed=7)
    path = f"/trajectories/{run['trajectory']}"
    assert client.delete(path, headers=bob).status_code == 404
    assert client.delete(path).status_code == 204
    for method in ("GET", "DELETE"):
        assert client.request(method, path).status_code == 404
    assert client.get(f"{path}/losses").status_code == 404
    work()
    assert len(client.get(f"/runs/{run['id']}/scores").json()["data"]) == len(RECORDS)
    again = client.post("/score", params=OPTIONS | {"method": "s2l", "dataset": run["dataset"], "seed": 7})  # fmt: skip
    work()
    other = client.get(f"/runs/{again.json()['id']}").json()["trajectory"]
    assert other not in {None, run["trajectory"]}


def test_the_training_of_a_trajectory_is_no_job_of_anybody(
    client: TestClient, learned: Learned, waiting: dict[str, Any], database: Database
) -> None:
    learned(method="s2l", seed=7)
    with database.transaction() as connection:
        hidden = list(connection.scalars(select(fine_tune.c.id)))
    assert len(hidden) == 2
    jobs = "/v1/fine_tuning/jobs"
    assert client.get(jobs).json()["data"] == []
    for job_id in hidden:
        for method, path in (
            ("GET", f"{jobs}/{job_id}"),
            ("GET", f"{jobs}?after={job_id}"),
            ("GET", f"{jobs}/{job_id}/events"),
            ("GET", f"{jobs}/{job_id}/checkpoints"),
            ("POST", f"{jobs}/{job_id}/cancel"),
            ("POST", f"{jobs}/{job_id}/pause"),
            ("POST", f"{jobs}/{job_id}/resume"),
        ):
            assert client.request(method, path).status_code == 404, path
    shown = client.get("/trajectories").text + client.get("/runs").text + client.get("/models").text
    for path in ("/v1/files", "/v1/models", f"/trajectories/{waiting['trajectory']}/events"):
        shown += client.get(path).text
    assert not [job_id for job_id in hidden if job_id in shown]
    assert "ftjob-" not in shown
