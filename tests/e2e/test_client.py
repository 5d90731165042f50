"""`winnow.client.Client` does over HTTP what curl does."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import record
from winnow.client import Client
from winnow.errors import (
    Conflict,
    InvalidOption,
    NotFound,
    NoUsableRows,
    RunNotUsable,
    ScoresNotReady,
    ServiceUnreachable,
    UnknownFormat,
)

RECORDS = [record(number) for number in range(40)]


def test_data_may_be_a_path_an_open_file_or_records(shared: Client, tmp_path: Path) -> None:
    """The same bytes are one dataset, however they come."""
    path = tmp_path / "forty.jsonl"
    path.write_bytes(
        b"".join(json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in RECORDS)
    )
    datasets = {
        shared.add_dataset(data).id
        for data in (path, str(path), io.BytesIO(path.read_bytes()), RECORDS)
    }
    assert len(datasets) == 1


def test_a_dry_run_answers_with_an_estimate(shared: Client) -> None:
    run = shared.wait(shared.score(RECORDS, dry_run=True))
    assert run.estimate is not None
    assert run.estimate.rows_scored + run.estimate.rows_rejected == run.estimate.rows == 40
    with pytest.raises(RunNotUsable):
        list(shared.subset(run=run.id, ratio=0.5))


def test_a_run_from_the_first_to_the_last_question(shared: Client, tmp_path: Path) -> None:
    run = shared.wait(shared.score(RECORDS, name="forty", statistic="loss_ratio", dtype="float32"))
    assert (run.name, run.options["statistic"], run.summary and run.summary["scored"]) == (
        "forty",
        "loss_ratio",
        40,
    )
    assert run.id in {each.id for each in shared.runs(dataset=run.dataset)}
    assert [event["type"] for event in shared.events(run.id)][-1] == "run.completed"
    assert sum(shared.histogram(run.id, bins=5)["counts"]) <= 40
    assert shared.manifest(run=run.id, ratio=0.5)["run"]
    kept = shared.download(tmp_path / "kept.parquet", run=run.id, ratio=0.5, include="scores")
    assert pq.read_table(kept.path).num_rows == len(
        b"".join(shared.subset(run=run.id, ratio=0.5)).splitlines()
    )
    assert [path.name for path in tmp_path.iterdir()] == ["kept.parquet"]
    again = shared.wait(shared.score(dataset=run.dataset, seed=7))
    assert again.id != run.id
    assert again.counts.rows_cached == 40
    shared.delete_run(again.id)
    with pytest.raises(NotFound):
        shared.run(again.id)


def test_a_dataset_can_be_looked_at_and_taken_away(shared: Client) -> None:
    run = shared.wait(shared.score([*RECORDS[:5], {"instruction": "Say nothing.", "output": ""}]))
    dataset = shared.dataset(run.dataset)
    assert (dataset.rows_read, dataset.rows_usable, dataset.rows_rejected) == (6, 5, 1)
    assert [each["reason"] for each in shared.rejections(dataset.id)] == ["empty_answer"]
    assert dataset.id in {each.id for each in shared.datasets()}
    shared.delete_dataset(dataset.id)
    with pytest.raises(NotFound):
        shared.run(run.id)


def test_a_subset_of_a_run_that_works_is_refused_or_waited_for(
    shared: Client, dataset: Path
) -> None:
    run = shared.score(dataset, max_length=64)
    with pytest.raises(ScoresNotReady):
        b"".join(shared.subset(run=run.id, ratio=0.1))
    assert len(b"".join(shared.subset(run=run.id, ratio=0.1, wait=True)).splitlines()) > 0


def test_a_cancelled_run_ends_the_wait(shared: Client, dataset: Path) -> None:
    run = shared.score(dataset, max_length=65)
    assert shared.cancel(run.id).status == "cancelled"
    with pytest.raises(RunNotUsable):
        shared.wait(run)


def test_files_come_and_go(shared: Client, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"".join(json.dumps(each).encode() + b"\n" for each in RECORDS))
    files = [shared.add_file(data) for data in (path, io.BytesIO(path.read_bytes()), RECORDS)]
    assert [file.filename for file in files] == ["train.jsonl", "upload", "upload"]
    assert [file.id for file in shared.files(purpose="fine-tune")][:3] == [
        file.id for file in reversed(files)
    ]
    assert shared.download_file(files[0].id, tmp_path / "again").read_bytes() == path.read_bytes()
    for file in files:
        shared.delete_file(file.id)
        with pytest.raises(NotFound):
            shared.file(file.id)
    with pytest.raises(NotFound):
        shared.download_file(files[0].id, tmp_path / "gone")
    assert {each.name for each in tmp_path.iterdir()} == {"train.jsonl", "again"}


def test_a_job_can_be_steered_and_says_how_it_ended(shared: Client) -> None:
    job = shared.fine_tune(RECORDS, n_epochs=50, lora_rank=2, metadata={"team": "data"})
    assert (job.metadata, job.winnow.options["lora_rank"]) == ({"team": "data"}, 2)
    assert shared.pause_job(job.id).status == "paused"
    assert shared.resume_job(job.id).status in {"validating_files", "queued"}
    assert next(shared.jobs()).id == job.id
    shared.cancel_job(job.id)
    with pytest.raises(Conflict, match="was cancelled"):
        shared.wait_for_job(job)
    assert shared.job_events(job.id, limit=1)[0]["winnow"]["type"] == "fine_tune.cancelled"
    with pytest.raises(InvalidOption, match="lora_rank"):
        shared.fine_tune(RECORDS, lora_rank=0)
    with pytest.raises(InvalidOption, match="training_file"):
        shared.fine_tune()


def test_what_the_service_refuses_is_raised_as_what_it_is(shared: Client, tmp_path: Path) -> None:
    with pytest.raises(NoUsableRows):
        shared.wait(shared.score([{"instruction": "Say nothing.", "output": ""}]))
    with pytest.raises(UnknownFormat):
        shared.score(io.BytesIO(b"\x7fELF" * 100))
    with pytest.raises(InvalidOption, match="ratio"):
        shared.download(tmp_path / "kept.jsonl", ratio=2)
    with pytest.raises(InvalidOption, match="template"):
        shared.score(RECORDS, template="haiku")
    with pytest.raises(InvalidOption, match="either data or dataset"):
        shared.score()
    with pytest.raises(NotFound):
        shared.run("run_absent")
    assert list(tmp_path.iterdir()) == []


def test_an_address_where_nothing_answers_is_named() -> None:
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(ServiceUnreachable, match=r"127\.0\.0\.1:9"),
    ):
        client.models()
