"""Workers and training processes are killed, stopped, paused and cancelled in the middle of a fine-tune."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
import redis
from sqlalchemy import text

from tests import servers
from tests.faults.conftest import named
from tests.faults.installation import TINY_MODEL, Installation, hurried, rows_of_text, wait_for
from tests.workers.fine_tuning import (
    create_job,
    events_of,
    files_of,
    folders_in_use,
    job_of,
    post_file,
    steps_told,
)
from tests.workers.house import OWNER
from winnow.messages import Wakeup
from winnow.store import migrate
from winnow.store.fine_tunes import (
    FineTune,
    cancel_fine_tune,
    list_checkpoints,
    pause_fine_tune,
    resume_fine_tune,
)

TRAINING_WORKER = ("-m", "cli", "worker", "--queues", "io,train", "--threads", "1")

NUM_ROWS, NUM_EPOCHS = 49, 12
"""Seconds of training on a tiny model, a step for each row (one in fifty has no answer)."""

PATIENCE_S = 150.0
"""A training process that starts imports for seconds, and on a busy machine for many."""


@dataclass
class Job:
    """A fine-tune of an installation, and the processes that work on it."""

    place: Installation
    id: str

    @property
    def now(self) -> FineTune:
        return job_of(self.place, self.id)

    def unit(self) -> Any:
        """The newest unit that trains it."""
        statement = text(
            "SELECT * FROM work WHERE fine_tune_id = :id AND kind = 'train' ORDER BY id DESC LIMIT 1"
        )
        with self.place.database.transaction() as connection:
            return connection.execute(statement, {"id": self.id}).one_or_none()

    def wait_until_in_the_middle(self, *, checkpoints: int = 1) -> Any:
        """It trains, and it has this many checkpoints or more; the unit."""

        def in_the_middle() -> bool:
            self.check_alive()
            return self.now.status == "running" and self.num_checkpoints() >= checkpoints

        wait_for(in_the_middle, within_s=PATIENCE_S)
        assert self.processes()
        return self.unit()

    def wait_until_succeeded(self) -> FineTune:
        def succeeded() -> bool:
            self.check_alive()
            return self.now.status == "succeeded"

        wait_for(succeeded, within_s=PATIENCE_S)
        return self.now

    def check_alive(self) -> None:
        assert self.now.status != "failed", (self.now.error, self.place.logs())

    def num_checkpoints(self) -> int:
        with self.place.database.transaction() as connection:
            page = list_checkpoints(connection, owner=OWNER, fine_tune_id=self.id, limit=100)
        return len(page.items)

    def processes(self) -> list[psutil.Process]:
        """What trains on this installation's disk."""
        jobs = str(self.place.settings.work_folder / "jobs")
        running = psutil.process_iter(["cmdline"])
        return [one for one in running if any(jobs in word for word in one.info["cmdline"] or [])]

    def wait_until_nothing_is_left(self, *, within_s: float = 5.0) -> None:
        wait_for(lambda: not self.processes(), within_s=within_s)

    def publish_again(self, times: int) -> None:
        unit = wait_for(self.unit)
        self.place.publish([Wakeup(work_id=unit.id, queue=unit.queue)] * times)

    def act(self, action: Any) -> None:
        with self.place.database.transaction() as connection:
            _, wakeups = action(connection, owner=OWNER, fine_tune_id=self.id)
        self.place.publish(wakeups)

    def check_result(self) -> None:
        """One result, each step told once up to the last, and nothing left of any attempt."""
        job = self.wait_until_succeeded()
        steps = steps_told(self.place, self.id)
        assert steps == sorted(set(steps))
        assert steps[-1] == job.step == job.total_steps
        types = [event.type for event in events_of(self.place, self.id)]
        assert types.count("fine_tune.succeeded") == 1
        assert types[-1] == "fine_tune.succeeded"
        files = files_of(self.place, job)
        assert all(self.place.blobs.size(file.blob) == file.size_bytes for file in files.values())
        self.wait_until_nothing_is_left()
        folder = f"fine_tunes/{self.id}"
        wait_for(lambda: self.place.blobs.names(folder) == ["result"])
        assert len(self.place.blobs.names(f"{folder}/result")) == 1
        with self.place.database.transaction() as connection:
            assert connection.scalar(text("SELECT count(*) FROM file")) == self.files_before + len(
                files
            )

    def __post_init__(self) -> None:
        with self.place.database.transaction() as connection:
            self.files_before = connection.scalar(text("SELECT count(*) FROM file"))


@pytest.fixture(scope="module")
def place(
    postgres_url: str, redis_number: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Two workers that train."""
    folder = tmp_path_factory.mktemp("training")
    with servers.own_database(postgres_url) as url, servers.own_number(redis_number) as broker_url:
        migrate.upgrade(url)
        settings = hurried(named(folder, url, broker_url), models=(TINY_MODEL,))
        installation = Installation(settings, folder, worker_command=TRAINING_WORKER)
        with installation.running(num_workers=2):
            yield installation


@pytest.fixture
def job(place: Installation) -> Iterator[Job]:
    """A job that has just been posted."""
    wait_for(lambda: len(place.live_workers()) >= 2, within_s=PATIENCE_S)
    job_id, wakeups = create_job(
        place,
        post_file(place, rows_of_text(NUM_ROWS)),
        model=TINY_MODEL,
        template="plain",
        adapter="none",
        n_epochs=NUM_EPOCHS,
        batch_size=1,
    )
    made = Job(place, job_id)
    place.publish(wakeups)
    yield made
    if made.now.active:
        made.act(cancel_fine_tune)


def test_a_job_survives_a_worker_that_is_killed_and_two_that_race_for_it(
    place: Installation, job: Job
) -> None:
    job.publish_again(5)
    unit = job.wait_until_in_the_middle(checkpoints=2)
    assert unit.attempt == 1
    assert len(job.processes()) == 1
    place.worker_of(unit).kill()
    job.wait_until_nothing_is_left()
    job.publish_again(5)
    place.start_worker()
    job.check_result()
    told = [event.message for event in events_of(place, job.id)]
    assert any("A worker went silent" in message for message in told)
    assert any("Training goes on from step" in message for message in told)
    assert folders_in_use(place) == []


def test_a_job_survives_its_process_being_killed_and_redis_being_emptied(
    place: Installation, job: Job
) -> None:
    with redis.Redis.from_url(place.settings.broker_url) as client:
        client.flushdb()
        job.wait_until_in_the_middle()
        assert client.hlen("unacked") == 0, "Redis would hand the message out again"
        client.flushdb()
    for process in job.processes():
        process.kill()
    job.check_result()
    retries = [event for event in events_of(place, job.id) if event.type == "fine_tune.retry"]
    assert ["SIGKILL" in event.message for event in retries] == [True]


def test_a_paused_job_frees_its_worker_and_a_stopped_worker_gives_it_back(
    place: Installation, job: Job
) -> None:
    job.wait_until_in_the_middle()
    job.act(pause_fine_tune)
    job.wait_until_nothing_is_left()
    wait_for(lambda: job.unit().state == "cancelled")
    assert job.now.status == "paused"
    assert folders_in_use(place) == []
    saved = job.num_checkpoints()
    job.act(resume_fine_tune)
    unit = job.wait_until_in_the_middle(checkpoints=saved + 1)
    worker, (process,) = place.worker_of(unit), job.processes()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=20) == 0
    assert not process.is_running()
    place.start_worker()
    job.check_result()
    assert job.unit().attempt == 1
    assert "fine_tune.retry" not in [event.type for event in events_of(place, job.id)]


def test_a_job_that_is_cancelled_in_training_is_gone_within_seconds(
    place: Installation, job: Job
) -> None:
    unit = job.wait_until_in_the_middle()
    worker = place.worker_of(unit)
    cancelled_at = time.monotonic()
    job.act(cancel_fine_tune)
    job.wait_until_nothing_is_left(within_s=4)
    wait_for(lambda: job.unit().state == "cancelled")
    wait_for(lambda: place.blobs.names(f"fine_tunes/{job.id}") == [])
    assert time.monotonic() - cancelled_at < 20
    assert (job.now.status, job.now.result_files) == ("cancelled", ())
    assert folders_in_use(place) == []
    assert events_of(place, job.id)[-1].type == "fine_tune.cancelled"
    os.kill(worker.pid, 0)  # the worker itself goes on
