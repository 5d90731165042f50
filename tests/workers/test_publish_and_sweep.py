"""Publishing never fails, and what it could not send the sweeper sends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import redis

from tests.workers.house import House, alpaca
from winnow.messages import Wakeup
from winnow.settings import Settings
from workers.app import make_app
from workers.publisher import make_publisher
from workers.sweep import sweep_forever, sweep_once

NOBODY_LISTENS = "redis://127.0.0.1:1/0"


def queued(settings: Settings, queue: str = "io") -> int:
    with redis.Redis.from_url(settings.broker_url) as client:
        return int(client.llen(queue))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_wakeups_go_to_their_queues(settings: Settings) -> None:
    publish = make_publisher(make_app(settings))
    publish([Wakeup(work_id=1, queue="io"), Wakeup(work_id=2, queue="score.x")])
    assert (queued(settings), queued(settings, "score.x")) == (1, 1)


def test_a_broker_that_is_away_is_no_error_and_costs_little_time(settings: Settings) -> None:
    away = settings.model_copy(update={"broker_url": NOBODY_LISTENS})
    publish = make_publisher(make_app(away))
    started = time.monotonic()
    publish([Wakeup(work_id=number, queue="io") for number in range(100)])
    assert time.monotonic() - started < 3


def test_a_message_that_was_never_sent_is_sent_by_the_sweeper(house: House) -> None:
    house.upload(alpaca(1))
    house.execute("UPDATE work SET published_at = now() - interval '1 hour'")
    publish = make_publisher(make_app(house.settings))
    result = sweep_once(house.database, house.settings, publish)
    assert [wakeup.work_id for wakeup in result.wakeups] == [house.published[0].work_id]
    assert queued(house.settings) == 1


def test_a_sweeper_outlives_connections_that_the_database_ends(house: House) -> None:
    settings = house.settings.model_copy(
        update={"sweep_interval_s": 0.02, "republish_after_s": 0.05}
    )
    house.upload(alpaca(1))
    stop = threading.Event()
    sweeper = threading.Thread(target=sweep_forever, args=(settings, stop))
    sweeper.start()
    try:
        for _ in range(20):
            house.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            time.sleep(0.03)
        sent = queued(settings)
        eventually(lambda: queued(settings) > sent)
    finally:
        stop.set()
        sweeper.join()
