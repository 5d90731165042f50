"""Publishing never fails, and what it could not send the sweeper sends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest
import redis
from sqlalchemy import Connection, text

import workers.sweep
from tests.workers.house import House, alpaca
from winnow.messages import Wakeup
from winnow.settings import Settings
from winnow.store.sweep import STEPS
from winnow.store.values import Swept
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
    publish, sent = make_publisher(make_app(house.settings)), house.published.copy()

    def publish_and_note(wakeups: Sequence[Wakeup]) -> None:
        publish(wakeups)
        house.published.extend(wakeups)

    assert sweep_once(house.database, house.settings, publish_and_note)["message_lost"] == 1
    assert house.published == sent * 2
    assert queued(house.settings) == 1


def test_a_step_that_fails_holds_up_none_of_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: Connection, _: Settings) -> Swept:
        connection.execute(text("UPDATE work SET attempt = 7"))
        raise KeyError("a row that nobody foresaw")

    house.upload(alpaca(1))
    house.execute("UPDATE work SET published_at = now() - interval '1 hour'")
    monkeypatch.setattr(workers.sweep, "STEPS", (("odd", fail), *STEPS))
    assert sweep_once(house.database, house.settings, lambda _: None) == {"message_lost": 1} | {
        name: 0 for name, _ in STEPS if name != "message_lost"
    }
    assert house.rows("SELECT attempt, publishes FROM work") == [{"attempt": 0, "publishes": 2}]


def test_what_one_step_has_locked_is_free_before_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker takes a run and then a trajectory; a sweep that held a run would wait for it in a circle."""
    run_id = house.start_run(house.upload(alpaca(1)))

    def hold(connection: Connection, _: Settings) -> Swept:
        connection.execute(text("SELECT id FROM run FOR UPDATE"))
        return Swept(count=1)

    def look(_: Connection, __: Settings) -> Swept:
        house.execute("SET LOCAL lock_timeout = '1s'")
        house.execute("UPDATE run SET name = 'free' WHERE id = :id", id=run_id)
        return Swept(count=0)

    monkeypatch.setattr(workers.sweep, "STEPS", (("first", hold), ("second", look)))
    sweep_once(house.database, house.settings, lambda _: None)
    assert house.run(run_id).name == "free"


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
