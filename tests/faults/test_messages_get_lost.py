"""Messages are wake-ups: however many get lost, come twice or cannot be sent, a run ends with the same subset."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import redis

from tests import servers
from tests.faults.conftest import named
from tests.faults.installation import NUM_BLOCKS, Installation, hurried, wait_for
from winnow.settings import FOLDER_BROKER


def test_two_workers_that_race_score_every_block_once(
    quick: Installation, undisturbed: str
) -> None:
    wait_for(lambda: len(quick.live_workers()) == 2)
    run_id = quick.start_run()
    quick.wait_until_completed(run_id)
    assert quick.digest(run_id) == undisturbed
    assert len({unit.worker_id for unit in quick.units(run_id)}) == 2
    assert [unit.attempt for unit in quick.units(run_id)] == [1] * NUM_BLOCKS


def test_messages_that_come_five_times_change_nothing(
    quick: Installation, undisturbed: str
) -> None:
    run_id = quick.start_run()
    wait_for(lambda: quick.units(run_id))
    quick.publish_again(run_id, times=4)
    quick.wait_until_in_the_middle(run_id)
    quick.publish_again(run_id, times=4)
    quick.wait_until_completed(run_id)
    assert quick.digest(run_id) == undisturbed
    assert [unit.attempt for unit in quick.units(run_id)] == [1] * NUM_BLOCKS


def test_a_run_goes_on_after_redis_was_emptied(quick: Installation, undisturbed: str) -> None:
    run_id = quick.start_run()
    quick.wait_until_in_the_middle(run_id)
    with redis.Redis.from_url(quick.settings.broker_url) as client:
        client.flushdb()
    quick.wait_until_completed(run_id)
    assert quick.digest(run_id) == undisturbed


def test_a_run_starts_although_the_broker_is_away_and_goes_on_when_it_is_back(
    tmp_path: Path, database_url: str, undisturbed: str
) -> None:
    with servers.own_redis(tmp_path) as broker_url:
        port = urlsplit(broker_url).port
    settings = named(tmp_path, database_url, broker_url)
    installation = Installation(hurried(settings), tmp_path)
    with installation.running(num_workers=1):
        started = time.monotonic()
        run_id = installation.start_run()
        assert time.monotonic() - started < 5, "a broker that is away held up the gateway"
        with servers.own_redis(tmp_path, port=port):
            installation.wait_until_in_the_middle(run_id)
        time.sleep(1)
        with servers.own_redis(tmp_path, port=port):
            installation.wait_until_completed(run_id)
            assert installation.digest(run_id) == undisturbed


def test_a_message_folder_may_lose_what_a_killed_worker_had_taken(
    tmp_path: Path, database_url: str, undisturbed: str
) -> None:
    settings = named(tmp_path, database_url, FOLDER_BROKER)
    installation = Installation(hurried(settings), tmp_path)
    with installation.running(num_workers=1):
        run_id = installation.start_run()
        unit = installation.wait_until_in_the_middle(run_id)
        installation.worker_of(unit).kill()
        installation.start_worker()
        installation.wait_until_completed(run_id)
        assert installation.digest(run_id) == undisturbed
