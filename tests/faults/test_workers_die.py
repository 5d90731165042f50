"""Workers with a real model are killed and stopped in the middle of a block."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests import servers
from tests.faults.conftest import named
from tests.faults.installation import (
    NUM_BLOCKS,
    REAL_WORKER,
    TINY_MODEL,
    Installation,
    hurried,
)
from winnow.store import migrate


@pytest.fixture(scope="module")
def real(
    postgres_url: str, redis_number: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Two workers with torch and a tiny GPT-2."""
    folder = tmp_path_factory.mktemp("real")
    with servers.own_database(postgres_url) as url, servers.own_number(redis_number) as broker_url:
        migrate.upgrade(url)
        settings = hurried(named(folder, url, broker_url), models=(TINY_MODEL,))
        installation = Installation(settings, folder, worker_command=REAL_WORKER)
        with installation.running(num_workers=2):
            yield installation


@pytest.fixture(scope="module")
def unharmed(real: Installation) -> str:
    """Digest of the run in which nobody dies."""
    run_id = real.start_run()
    real.wait_until_completed(run_id)
    return real.digest(run_id)


def test_a_run_survives_a_worker_that_is_killed(real: Installation, unharmed: str) -> None:
    run_id = real.start_run()
    unit = real.wait_until_in_the_middle(run_id)
    real.worker_of(unit).kill()
    real.wait_until_completed(run_id)
    assert real.digest(run_id) == unharmed
    attempts = {unit.id: unit.attempt for unit in real.units(run_id)}
    assert attempts.pop(unit.id) == 2
    assert set(attempts.values()) == {1}


def test_a_worker_that_is_asked_to_stop_gives_its_unit_back(
    real: Installation, unharmed: str
) -> None:
    real.start_worker()
    run_id = real.start_run()
    unit = real.wait_until_in_the_middle(run_id)
    worker = real.worker_of(unit)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=10) == 0
    real.wait_until_completed(run_id)
    assert real.digest(run_id) == unharmed
    assert [unit.attempt for unit in real.units(run_id)] == [1] * NUM_BLOCKS
