"""`/v1/fine_tuning/jobs`, driven by OpenAI's own client. What needs a trainer is tested with the workers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai as errors
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from service import events
from tests.service.conftest import RECORDS
from tests.service.test_events import STREAM, messages
from tests.service.test_files import JSONL, upload
from winnow.client import Client
from winnow.errors import Conflict, InvalidOption, NotFound, ServiceError
from winnow.store import fine_tune_progress as progress
from winnow.store.events import add_event
from winnow.store.fine_tunes import FineTune, load_fine_tune
from winnow.store.session import Database
from winnow.store.tables import fine_tune_checkpoint
from winnow.store.values import ErrorInfo

MODEL = "winnow-mini"


@pytest.fixture
def run(live: httpx.Client, work: Callable[[], None]) -> str:
    """A completed run of `alice`, made over the same server as her jobs."""
    started: str = live.post("/score", json=RECORDS).json()["id"]
    work()
    assert live.get(f"/runs/{started}").json()["status"] == "completed"
    return started


def start(openai: OpenAI, **options: Any) -> FineTuningJob:
    given = {"model": MODEL, "training_file": None, **options}
    given["training_file"] = given["training_file"] or upload(openai).id
    return openai.fine_tuning.jobs.create(**given)


def train(database: Database, job_id: str, **values: Any) -> None:
    """What a worker would write once it has begun."""
    with database.transaction() as connection:
        progress.finish_validating(connection, job_id, [], rows=1)
        progress.move(connection, job_id, "running", "The job trains.", **values)


def succeed(database: Database, job_id: str, **values: Any) -> FineTune:
    train(database, job_id)
    with database.transaction() as connection:
        assert progress.succeed(connection, job_id, **values) is not None
        return load_fine_tune(connection, job_id)


def test_a_job_has_every_field_of_openai_and_its_types(openai: OpenAI) -> None:
    training, validation = upload(openai), upload(openai)
    made = start(
        openai,
        training_file=training.id,
        validation_file=validation.id,
        seed=7,
        suffix="greedy",
        metadata={"team": "data"},
        integrations=None,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
        extra_body={"winnow": {"lora_rank": 4, "target_modules": ["q_proj"], "merge": True}},
    )
    answered = made.model_dump(exclude_unset=True)
    assert FineTuningJob.model_fields.keys() <= answered.keys()
    assert FineTuningJob.model_validate(answered, strict=True) == made
    assert answered["status"] == "validating_files"
    assert answered["organization_id"] == "alice"
    assert (made.training_file, made.validation_file) == (training.id, validation.id)
    assert (made.seed, made.metadata, made.trained_tokens) == (7, {"team": "data"}, None)
    chosen = {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": "auto"}
    assert answered["hyperparameters"] == chosen
    assert answered["method"]["supervised"]["hyperparameters"] == chosen
    own = answered["winnow"]
    assert own["options"]["lora_rank"] == 4
    assert own["options"]["target_modules"] == ["q_proj"]
    assert own["options"]["merge"] is True
    assert "winnow worker --queues io" in own["waits_for"]
    assert openai.fine_tuning.jobs.retrieve(made.id) == made


def test_a_job_tells_how_far_it_is_and_what_auto_came_to(
    openai: OpenAI, database: Database
) -> None:
    made = start(openai, hyperparameters={"n_epochs": 2})
    settled = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.5}
    train(database, made.id, hyperparameters=settled, step=3, total_steps=12)
    now = openai.fine_tuning.jobs.retrieve(made.id).model_dump()
    assert (now["status"], now["winnow"]["step"], now["winnow"]["total_steps"]) == (
        "running",
        3,
        12,
    )
    assert now["hyperparameters"] == settled
    assert "--queues train" in now["winnow"]["waits_for"]


def test_a_failed_job_says_why_and_which_option_to_change(
    openai: OpenAI, database: Database
) -> None:
    made = start(openai)
    error = ErrorInfo(code="out_of_memory", message="Halve batch_size.", param="batch_size")
    with database.transaction() as connection:
        progress.fail(connection, made.id, error)
    failed = openai.fine_tuning.jobs.retrieve(made.id)
    assert failed.status == "failed"
    assert failed.finished_at is not None
    assert failed.error is not None
    assert (failed.error.code, failed.error.message, failed.error.param) == (
        "out_of_memory",
        "Halve batch_size.",
        "batch_size",
    )


def test_a_subset_of_a_completed_run_is_training_data(openai: OpenAI, run: str) -> None:
    reference = f"subset:{run}?ratio=0.5&strategy=random&seed=3&per=source"
    assert start(openai, training_file=reference).training_file == reference


def test_a_subset_of_a_run_of_any_method_is_training_data(
    openai: OpenAI,
    live: httpx.Client,
    learn: Callable[..., dict[str, Any]],
    work: Callable[[], None],
) -> None:
    run = learn(live, method="learning_percentage")["id"]
    for options in (
        "ratio=0.5",
        "ratio=0.5&quota=per_cluster",
        "count=4&strategy=cluster_balanced&per=source",
        "count=4&strategy=bottom&include_unlearned=true",
    ):
        reference = f"subset:{run}?{options}"
        assert start(openai, training_file=reference).training_file == reference
    heavy = f"subset:{run}?ratio=0.2&strategy=facility_location&pool_ratio=0.5"
    with pytest.raises(errors.ConflictError) as refused:
        start(openai, training_file=heavy)
    assert (refused.value.code, refused.value.param) == ("selection_not_ready", "training_file")
    assert refused.value.response.headers["Retry-After"] == "2"
    work()
    assert start(openai, training_file=heavy).training_file == heavy
    # What was chosen for training is what the same request downloads.
    asked = dict(pair.split("=") for pair in heavy.partition("?")[2].split("&"))
    assert live.get("/subsets", params=asked | {"run": run}).status_code == 200


@pytest.mark.parametrize(
    ("reference", "kind", "code"),
    [
        (
            "subset:{run}?ratio=0.2&strategy=cluster_bottom",
            errors.UnprocessableEntityError,
            "invalid_option",
        ),
        (
            "subset:{run}?ratio=0.2&strategy=facility_location",
            errors.UnprocessableEntityError,
            "invalid_option",
        ),
        (
            "subset:{run}?ratio=0.2&pool_ratio=0.5",
            errors.UnprocessableEntityError,
            "invalid_option",
        ),
        ("dataset:ds_none", errors.UnprocessableEntityError, "invalid_option"),
        ("subset:{run}?ratio=2", errors.UnprocessableEntityError, "invalid_option"),
        ("subset:{run}", errors.UnprocessableEntityError, "invalid_option"),
        ("subset:{run}?ratio=0.1&format=csv", errors.UnprocessableEntityError, "invalid_option"),
        ("subset:{run}?ratio=0.01", errors.UnprocessableEntityError, "invalid_option"),
        ("subset:{run}?ratio=1&min_score=99", errors.UnprocessableEntityError, "invalid_option"),
        ("subset:run_none?ratio=0.1", errors.NotFoundError, "not_found"),
        ("file-none", errors.NotFoundError, "not_found"),
        ("data.jsonl", errors.UnprocessableEntityError, "invalid_option"),
    ],
)
def test_training_data_that_cannot_be_had_is_refused_at_once(
    openai: OpenAI, run: str, reference: str, kind: type[errors.APIStatusError], code: str
) -> None:
    with pytest.raises(kind) as refused:
        start(openai, training_file=reference.format(run=run))
    assert (refused.value.code, refused.value.param) == (code, "training_file")
    assert openai.fine_tuning.jobs.list().data == []


def test_a_subset_of_a_run_that_works_is_worth_another_try(
    openai: OpenAI, live: httpx.Client
) -> None:
    active = live.post("/score", json=RECORDS).json()["id"]
    with pytest.raises(errors.ConflictError) as refused:
        start(openai, training_file=f"subset:{active}?ratio=0.1")
    assert (refused.value.code, refused.value.param) == ("scores_not_ready", "training_file")
    assert refused.value.response.headers["Retry-After"] == "2"
    assert "x-should-retry" not in refused.value.response.headers
    live.post(f"/runs/{active}/cancel")
    with pytest.raises(errors.ConflictError) as refused:
        start(openai, training_file=f"subset:{active}?ratio=0.1")
    assert refused.value.code == "run_not_usable"
    assert refused.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"model": "gpt-4o-mini"}, "model"),
        ({"model": f"ft:{MODEL}::abc"}, "model"),
        ({"validation_file": "subset:run_none?ratio=0.1"}, "validation_file"),
        ({"method": {"type": "dpo"}}, "method.type"),
        ({"integrations": [{"type": "wandb"}]}, "integrations"),
        ({"seed": -1}, "seed"),
        ({"suffix": "a:b"}, "suffix"),
        ({"hyperparameters": {"n_epochs": 0}}, "n_epochs"),
        ({"hyperparameters": {"epochs": 3}}, "hyperparameters.epochs"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"metadata": {"a": "b" * 513}}, "metadata.a"),
        ({"extra_body": {"winnow": {"lora_rnk": 4}}}, "winnow.lora_rnk"),
        ({"extra_body": {"winnow": {"merge": True, "adapter": "none"}}}, "merge"),
        ({"extra_body": {"colour": "red"}}, "colour"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_option_that_cannot_be_met_is_named(
    openai: OpenAI, options: dict[str, Any], param: str
) -> None:
    with pytest.raises(errors.UnprocessableEntityError) as refused:
        start(openai, **options)
    assert refused.value.param == param
    assert refused.value.code == ("model_not_allowed" if param == "model" else "invalid_option")
    body = refused.value.body
    assert isinstance(body, dict)
    assert refused.value.message == f"Error code: 422 - {body['detail']}"


def test_a_validation_file_that_is_not_there_is_named(openai: OpenAI) -> None:
    with pytest.raises(errors.NotFoundError) as refused:
        start(openai, validation_file="file-none")
    assert (refused.value.code, refused.value.param) == ("not_found", "validation_file")


def test_hyperparameters_may_stand_in_two_places_but_not_differ(openai: OpenAI) -> None:
    def method(n_epochs: int) -> dict[str, Any]:
        return {
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": n_epochs}},
        }

    assert start(openai, method=method(2), hyperparameters={"n_epochs": 2}).id
    with pytest.raises(errors.UnprocessableEntityError) as refused:
        start(openai, method=method(2), hyperparameters={"n_epochs": 3})
    assert refused.value.param == "hyperparameters"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_option"),
        (b"[1", 422, "invalid_option"),
        (b"[" * 100_000, 422, "invalid_option"),
        (b"{" + b" " * 2**20 + b"}", 413, "too_large"),
    ],
)
def test_a_body_that_is_no_job_is_refused(
    live: httpx.Client, body: bytes, status: int, code: str
) -> None:
    answer = live.post("/v1/fine_tuning/jobs", content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_replay_makes_no_second_job(openai: OpenAI) -> None:
    data = upload(openai).id
    once = openai.with_options(default_headers={"Idempotency-Key": "job-1"})
    assert start(once, training_file=data) == start(once, training_file=data)
    assert len(openai.fine_tuning.jobs.list().data) == 1
    with pytest.raises(errors.UnprocessableEntityError) as refused:
        start(once, training_file=data, seed=1)
    assert refused.value.code == "idempotency_key_reused"


def test_jobs_are_listed_page_by_page_and_by_metadata(openai: OpenAI, live: httpx.Client) -> None:
    data = upload(openai).id
    made = [
        start(openai, training_file=data, metadata={"even": str(n % 2 == 0), "n": str(n)}).id
        for n in range(5)
    ]
    page = openai.fine_tuning.jobs.list(limit=2)
    assert ([job.id for job in page.data], page.has_more) == (made[:2:-1], True)
    assert [job.id for job in page] == made[::-1]
    even = openai.fine_tuning.jobs.list(limit=1, metadata={"even": "True"})
    assert [job.id for job in even] == made[::-2]
    one = openai.fine_tuning.jobs.list(metadata={"even": "True", "n": "2"})
    assert [job.id for job in one] == [made[2]]
    unread = live.get("/v1/fine_tuning/jobs?metadata=null").json()
    assert (unread["code"], unread["param"]) == ("invalid_option", "metadata")


def test_events_are_listed_the_newest_first(openai: OpenAI, database: Database) -> None:
    job = start(openai)
    train(database, job.id)
    with database.transaction() as connection:
        for step in range(1, 6):
            data = {"step": step, "total_steps": 5, "loss": 1 / step}
            add_event(connection, job.id, "fine_tune.step", f"Step {step} of 5.", data)
        add_event(connection, job.id, "fine_tune.warning", "3 rows were left out.")
    page = openai.fine_tuning.jobs.list_events(job.id, limit=3)
    assert page.has_more
    assert [event.message for event in page.data][:2] == ["3 rows were left out.", "Step 5 of 5."]
    every = list(page)
    assert [event.model_dump()["winnow"]["seq"] for event in every] == [9, *range(8, 0, -1)]
    for event in every:
        assert event.id.startswith("ftevent-")
        assert FineTuningJobEvent.model_validate(event.model_dump(), strict=True) == event
    warning, step = every[:2]
    assert (warning.level, warning.type) == ("warn", "message")
    assert (step.level, step.type) == ("info", "metrics")
    assert step.data == {"step": 5, "total_steps": 5, "loss": 0.2}


def test_the_event_of_another_job_is_no_cursor(openai: OpenAI) -> None:
    job, other = start(openai), start(openai)
    (foreign,) = openai.fine_tuning.jobs.list_events(other.id).data
    for after in (foreign.id, foreign.id + "x", "1"):
        with pytest.raises(errors.NotFoundError) as refused:
            openai.fine_tuning.jobs.list_events(job.id, after=after)
        assert refused.value.param == "after"


def test_a_stream_tells_events_as_they_happen_and_can_be_taken_up_again(
    openai: OpenAI, live: httpx.Client, database: Database
) -> None:
    job = start(openai)
    path = f"/v1/fine_tuning/jobs/{job.id}/events"
    with live.stream("GET", path, headers=STREAM) as answer:
        lines = answer.iter_lines()
        assert "event: fine_tune.validating_files" in lines
        train(database, job.id)
        assert "event: fine_tune.running" in lines
        openai.fine_tuning.jobs.cancel(job.id)
        rest = list(lines)
    assert "event: fine_tune.cancelled" in rest
    whole = messages(live.get(path, headers=STREAM).text)
    numbered = [message for message in whole if "id" in message]
    assert [int(message["id"]) for message in numbered] == [1, 2, 3, 4]
    listed = [event.id for event in openai.fine_tuning.jobs.list_events(job.id)]
    assert [json.loads(message["data"])["id"] for message in numbered] == listed[::-1]
    resumed = messages(live.get(path, headers=STREAM | {"Last-Event-ID": "3"}).text)
    assert [message["id"] for message in resumed if "id" in message] == ["4"]
    over = live.get(path, headers=STREAM | {"Last-Event-ID": "4"})
    assert (over.status_code, over.content) == (204, b"")


def test_our_client_follows_a_job_over_streams_that_end(
    openai: OpenAI, live: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LIFE_S", 0.1)
    monkeypatch.setattr(events, "POLL_S", 0.02)
    job = start(openai)
    key = live.headers["Authorization"].removeprefix("Bearer ")
    heard: list[str] = []
    with Client(str(live.base_url), key) as client:
        followed = client.follow(job.id)
        for act in (lambda: train(database, job.id), lambda: client.cancel_job(job.id)):
            heard.append(next(followed)["winnow"]["type"])
            time.sleep(0.3)
            act()
        heard += [event["winnow"]["type"] for event in followed]
        with pytest.raises(Conflict, match="was cancelled"):
            client.wait_for_job(job.id)
    assert heard == [
        "fine_tune.validating_files",
        "fine_tune.queued",
        "fine_tune.running",
        "fine_tune.cancelled",
    ]


def test_our_client_writes_a_result_whole_or_not_at_all(
    openai: OpenAI, live: httpx.Client, database: Database, tmp_path: Path
) -> None:
    job = start(openai)
    files = [upload(openai, name=name) for name in ("all.zip", "README.md", "merged/model.json")]
    key = live.headers["Authorization"].removeprefix("Bearer ")
    target = tmp_path / "adapter"
    with Client(str(live.base_url), key) as client:
        with pytest.raises(Conflict, match="validating_files"):
            client.download_result(job.id, target)
        succeed(database, job.id, fine_tuned_model="ft:x", result_files=[f.id for f in files])
        written = client.download_result(job.id, target)
        assert {path.relative_to(target).as_posix() for path in written} == {
            "README.md",
            "merged/model.json",
        }
        assert all(path.read_bytes() == JSONL for path in written)
        with pytest.raises(InvalidOption, match="not an empty folder"):
            client.download_result(job.id, target)
        client.delete_file(files[2].id)
        with pytest.raises(NotFound):
            client.download_result(job.id, tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith("tmp")] == []
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_our_client_writes_nothing_outside_of_the_folder(
    openai: OpenAI, live: httpx.Client, database: Database, tmp_path: Path, name: str
) -> None:
    job = start(openai)
    made = openai.files.create(
        file=("x", JSONL), purpose="fine-tune", extra_query={"filename": name}
    )
    succeed(database, job.id, fine_tuned_model="ft:x", result_files=["file-all", made.id])
    key = live.headers["Authorization"].removeprefix("Bearer ")
    with Client(str(live.base_url), key) as client, pytest.raises(ServiceError, match="outside"):
        client.download_result(job.id, tmp_path / "adapter")
    assert not (tmp_path / "outside").exists()


def test_a_job_is_paused_resumed_and_cancelled(openai: OpenAI, database: Database) -> None:
    jobs = openai.fine_tuning.jobs
    job = start(openai)
    train(database, job.id)
    assert [jobs.pause(job.id).status for _ in range(2)] == ["paused", "paused"]
    assert jobs.retrieve(job.id).model_dump()["winnow"]["waits_for"] is None
    assert jobs.resume(job.id).status == "queued"
    assert [jobs.cancel(job.id).status for _ in range(2)] == ["cancelled", "cancelled"]


def test_what_is_over_stays_over_and_is_not_asked_again(openai: OpenAI) -> None:
    job = start(openai)
    patient = openai.with_options(max_retries=2)
    patient.fine_tuning.jobs.cancel(job.id)
    for act in (patient.fine_tuning.jobs.pause, patient.fine_tuning.jobs.resume):
        began = time.monotonic()
        with pytest.raises(errors.ConflictError) as refused:
            act(job.id)
        assert refused.value.code == "conflict"
        assert refused.value.request.headers["x-stainless-retry-count"] == "0"
        assert time.monotonic() - began < 1


def test_checkpoints_are_listed_the_newest_first(openai: OpenAI, database: Database) -> None:
    job = start(openai)
    with database.transaction() as connection:
        for step in (10, 20, 30):
            connection.execute(
                fine_tune_checkpoint.insert().values(
                    id=f"ftckpt-{step}",
                    fine_tune_id=job.id,
                    step=step,
                    metrics={"train_loss": 1.5, "valid_loss": 2.5},
                )
            )
    page = openai.fine_tuning.jobs.checkpoints.list(job.id, limit=2)
    found = list(page)
    assert [each.step_number for each in found] == [30, 20, 10]
    assert FineTuningJobCheckpoint.model_validate(found[0].model_dump(), strict=True) == found[0]
    assert (found[0].metrics.train_loss, found[0].metrics.valid_loss) == (1.5, 2.5)


def test_a_fine_tuned_model_is_listed_and_scores_for_its_owner_only(
    openai: OpenAI, live: httpx.Client, database: Database, bob: dict[str, str]
) -> None:
    name = f"ft:{MODEL}:mine:abc123"
    data = json.dumps(RECORDS[0]).encode()
    refused = live.post("/score", params={"model": name}, content=data)
    assert (refused.status_code, refused.json()["param"]) == (404, "model")
    assert "GET /models" in refused.json()["detail"]
    succeed(database, start(openai).id, fine_tuned_model=name)
    assert [each["id"] for each in live.get("/models").json()["data"]] == [MODEL, name]
    assert [model.id for model in openai.models.list()] == [MODEL, name]
    assert [each["id"] for each in live.get("/models", headers=bob).json()["data"]] == [MODEL]
    accepted = live.post("/score", params={"model": name}, content=data)
    assert (accepted.status_code, accepted.json()["model"]) == (202, name)
    stranger = live.post("/score", params={"model": name}, content=data, headers=bob)
    assert (stranger.status_code, stranger.json()["code"]) == (404, "not_found")


def test_a_succeeded_job_names_its_model_and_its_files(openai: OpenAI, database: Database) -> None:
    job = start(openai)
    succeed(
        database,
        job.id,
        fine_tuned_model="ft:x",
        result_files=["file-a", "file-b"],
        trained_tokens=99,
    )
    done = openai.fine_tuning.jobs.retrieve(job.id)
    assert (done.status, done.fine_tuned_model, done.trained_tokens) == ("succeeded", "ft:x", 99)
    assert done.result_files == ["file-a", "file-b"]
