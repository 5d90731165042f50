"""What a worker process listens to and offers, and how others see it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import until
from tests.workers.house import House
from winnow.cores import available_cores
from winnow.errors import ConfigurationError, DependencyMissing, InvalidOption
from winnow.messages import Offer
from winnow.settings import Settings
from winnow.store.workers_registry import live_workers
from workers.presence import present
from workers.run import offered, pool_size, queue_names, run_worker
from workers.webhooks import AT_ONCE


def test_score_stands_for_every_model_in_both_number_formats() -> None:
    settings = Settings(models=("winnow-mini", "gpt2@main"))
    offers = offered(settings, ["io", "score"])
    assert {(offer.model, offer.dtype) for offer in offers} == {
        ("winnow-mini", "float32"),
        ("winnow-mini", "bfloat16"),
        ("gpt2@main", "float32"),
        ("gpt2@main", "bfloat16"),
    }
    assert queue_names(["io", "score"], offers) == ["io", *(offer.queue for offer in offers)]


def test_a_worker_offers_its_own_engine_whatever_that_of_new_runs_is(settings: Settings) -> None:
    for engine in ("torch", "vllm"):
        own = settings.model_copy(update={"engine": engine})
        assert {offer.engine for offer in offered(own, ["score"])} == {engine}


def test_a_running_vllm_is_offered_in_its_one_number_format() -> None:
    settings = Settings(engine="vllm-server", dtype="bfloat16")
    assert {offer.dtype for offer in offered(settings, ["score"])} == {"bfloat16"}


def test_a_worker_without_its_engine_takes_no_work(settings: Settings) -> None:
    with pytest.raises(DependencyMissing, match="vLLM"):
        run_worker(settings.model_copy(update={"engine": "vllm"}), ["score"])


def test_a_worker_that_does_not_score_offers_no_model() -> None:
    assert offered(Settings(), ["io", "train"]) == ()


@pytest.mark.parametrize("queues", [["scores"], ["io", "gpu"], []])
def test_an_unknown_queue_is_refused(queues: list[str]) -> None:
    with pytest.raises(InvalidOption, match="io, score, train"):
        queue_names(queues, [])


def test_a_worker_without_a_database_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="WINNOW_DATABASE_URL"):
        run_worker(Settings(), ["io"])


def test_a_worker_uses_no_more_cores_than_it_may() -> None:
    narrow = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    code = narrow + "from winnow.cores import available_cores; print(available_cores())"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert int(shown.stdout) == 1
    assert available_cores() <= (os.cpu_count() or 1)


def test_every_thread_that_sends_has_connections_beside_the_work() -> None:
    work_and_lease = thread_and_lease = 2
    assert 2 * pool_size(["io", "score"]) >= work_and_lease + AT_ONCE * thread_and_lease
    assert pool_size(["score"]) == 2


def test_a_worker_is_listed_while_it_lives(house: House) -> None:
    offer = Offer(engine="torch", model="winnow-mini", dtype="float32")

    def listed() -> list[str]:
        with house.database.transaction() as connection:
            return [worker.id for worker in live_workers(connection)]

    with present(house.database, worker_id="worker-1", queues=["io"], offers=[offer]):
        until(lambda: listed() == ["worker-1"] or None)
    assert listed() == []
