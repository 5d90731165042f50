"""The frame around a unit: what is claimed, kept, given back, tried again and given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy.exc import OperationalError

from tests.workers.house import OWNER, House, alpaca
from winnow.errors import DamagedContainer
from winnow.messages import Wakeup
from winnow.store.runs import cancel_run
from winnow.store.session import Connection
from winnow.store.work import Claim, claim, finish_ingest
from workers.lease import Lease
from workers.policy import ShuttingDown
from workers.sweep import sweep_once
from workers.unit import Finish, Handler


def ingested(claimed: Claim) -> Finish:
    """An ingest that found one usable row."""

    def finish(connection: Connection) -> Sequence[Wakeup]:
        return finish_ingest(
            connection,
            claimed,
            format="jsonl",
            rows_read=1,
            rows_usable=1,
            rows_rejected=0,
            num_blocks=1,
            rejections=[],
        )

    return finish


def after(action: Callable[[Lease], None]) -> dict[str, Handler]:
    """Handlers whose ingest does `action` and then succeeds."""

    def handler(claimed: Claim, lease: Lease) -> Finish:
        action(lease)
        return ingested(claimed)

    return {"ingest": handler}


def until_stopped(lease: Lease) -> None:
    """Batch after batch, until one of them hears that it should stop."""
    deadline = time.monotonic() + 10
    for rows_done in range(10_000):
        lease.progress(rows_done)
        time.sleep(0.01)
        assert time.monotonic() < deadline, "nothing stopped the work"


def sweep_while(house: House, action: Callable[[], None]) -> None:
    """Run `action` with a sweeper beside it."""
    over = threading.Event()

    def sweep_often() -> None:
        while not over.wait(0.05):
            sweep_once(house.database, house.settings, house.published.extend)

    sweeper = threading.Thread(target=sweep_often)
    sweeper.start()
    try:
        action()
    finally:
        over.set()
        sweeper.join()


def new_unit(house: House) -> int:
    house.upload(alpaca(1))
    return house.published.pop().work_id


def test_a_message_that_comes_twice_is_worked_on_once(house: House) -> None:
    started: list[Lease] = []
    runner = house.runner(after(started.append))
    work_id = new_unit(house)
    for _ in range(3):
        runner.run(work_id)
    assert len(started) == 1
    assert house.unit(work_id)["state"] == "done"


def test_a_unit_of_a_queue_that_is_not_offered_is_left_alone(house: House) -> None:
    work_id = new_unit(house)
    house.runner(after(until_stopped), queues=frozenset({"train"})).run(work_id)
    assert house.unit(work_id)["state"] == "queued"


def test_what_comes_next_is_published_after_the_commit(house: House) -> None:
    run_id = house.start_run(house.upload(alpaca(1)))
    seen: list[str] = []
    runner = house.runner(
        after(lambda _: None), publish=lambda _: seen.append(house.run(run_id).status)
    )
    runner.run(house.published.pop().work_id)
    assert seen == ["scoring"]


def test_a_worker_that_stops_gives_its_unit_back_without_counting_the_attempt(house: House) -> None:
    work_id = new_unit(house)
    stopping = threading.Event()
    threading.Timer(0.2, stopping.set).start()
    house.runner(after(until_stopped), stopping=stopping).run(work_id)
    assert house.unit(work_id)["state"] == "queued"
    assert house.unit(work_id)["attempt"] == 0
    assert [wakeup.work_id for wakeup in house.published] == [work_id]


def test_a_worker_that_stops_does_not_look_at_another_unit(house: House) -> None:
    work_id = new_unit(house)
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(ShuttingDown):
        house.runner(stopping=stopping).run(work_id)
    assert house.unit(work_id)["attempt"] == 0


def test_work_on_a_cancelled_run_stops_at_the_next_batch(house: House) -> None:
    run_id = house.start_run(house.upload(alpaca(2000)))
    runner = house.runner()
    runner.run(house.published.pop(0).work_id)  # the ingest
    work_id = house.published.pop(0).work_id

    def handler(_: Claim, lease: Lease) -> Finish:
        with house.database.transaction() as connection:
            cancel_run(connection, owner=OWNER, run_id=run_id)
        until_stopped(lease)
        raise AssertionError("the work went on")

    house.runner({"score": handler}).run(work_id)
    assert (house.unit(work_id)["state"], house.unit(work_id)["attempt"]) == ("queued", 0)
    sweep_once(house.database, house.settings, house.published.extend)
    assert house.unit(work_id)["state"] == "cancelled"
    assert house.run(run_id).status == "cancelled"


def test_a_worker_whose_unit_was_taken_over_leaves_no_trace(house: House) -> None:
    work_id = new_unit(house)

    def take_over(lease: Lease) -> None:
        house.execute("UPDATE work SET lease_expires_at = now() - interval '1 second'")
        with house.database.transaction() as connection:
            claim(connection, work_id, worker_id="worker-2", lease_s=60, queues={"io"})
        until_stopped(lease)

    house.runner(after(take_over)).run(work_id)
    unit = house.unit(work_id)
    assert (unit["state"], unit["worker_id"], unit["attempt"]) == ("running", "worker-2", 2)


def test_results_of_a_unit_that_was_taken_over_during_its_last_batch_are_dropped(
    house: House,
) -> None:
    dataset_id = house.upload(alpaca(1))
    work_id = house.published.pop().work_id

    def take_over(_: Lease) -> None:
        house.execute("UPDATE work SET lease_expires_at = now() - interval '1 second'")
        with house.database.transaction() as connection:
            claim(connection, work_id, worker_id="worker-2", lease_s=60, queues={"io"})

    house.runner(after(take_over)).run(work_id)
    assert house.unit(work_id)["worker_id"] == "worker-2"
    assert house.dataset(dataset_id).status == "ingesting"


def test_an_error_of_the_input_fails_at_once_with_its_message(house: House) -> None:
    def damaged(_: Lease) -> None:
        raise DamagedContainer("gzip data ends at byte 17")

    dataset_id = house.upload(alpaca(1))
    run_id = house.start_run(dataset_id)
    house.work(house.runner(after(damaged)))
    error = house.run(run_id).error
    assert error is not None
    assert (error.code, error.message) == ("damaged_container", "gzip data ends at byte 17")
    assert house.dataset(dataset_id).status == "failed"


def test_another_error_counts_as_an_attempt_and_the_unit_waits_before_the_next(
    house: House,
) -> None:
    def fail(_: Lease) -> None:
        raise OSError("no space left on device")

    work_id = new_unit(house)
    runner = house.runner(after(fail))
    runner.run(work_id)
    runner.run(work_id)  # too early
    unit = house.unit(work_id)
    assert (unit["state"], unit["attempt"]) == ("queued", 1)


def test_a_unit_that_always_fails_ends_as_a_failed_run_with_the_reason(house: House) -> None:
    def fail(_: Lease) -> None:
        raise OSError("no space left on device")

    run_id = house.start_run(house.upload(alpaca(1)))
    work_id = house.published.pop().work_id
    runner = house.runner(after(fail))
    for _ in range(house.settings.max_attempts):
        house.execute("UPDATE work SET available_at = now() WHERE state = 'queued'")
        runner.run(work_id)
    run = house.run(run_id)
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.message == "OSError: no space left on device"


def test_a_batch_longer_than_the_lease_does_not_lose_it(house: House) -> None:
    work_id = new_unit(house)
    runner = house.runner(after(lambda _: time.sleep(4)), lease_s=1.5)
    sweep_while(house, lambda: runner.run(work_id))
    unit = house.unit(work_id)
    assert (unit["state"], unit["attempt"]) == ("done", 1)


def test_a_unit_that_hangs_loses_its_lease(house: House) -> None:
    work_id = new_unit(house)

    def hang(lease: Lease) -> None:
        time.sleep(1.5)
        lease.progress(1)

    runner = house.runner(after(hang), lease_s=0.4, stall_s=0.2)
    sweep_while(house, lambda: runner.run(work_id))
    unit = house.unit(work_id)
    assert (unit["state"], unit["attempt"]) == ("queued", 1)
    assert [wakeup.work_id for wakeup in house.published] == [work_id]


def test_progress_can_be_read_while_the_unit_is_worked_on(house: House) -> None:
    work_id = new_unit(house)
    seen: list[int] = []

    def watch(lease: Lease) -> None:
        lease.progress(17)
        deadline = time.monotonic() + 10
        while 17 not in seen and time.monotonic() < deadline:
            seen.append(house.unit(work_id)["rows_done"])
            time.sleep(0.05)

    house.runner(after(watch)).run(work_id)
    assert seen[-1] == 17


def test_finished_work_waits_for_a_database_that_is_away(house: House) -> None:
    work_id = new_unit(house)
    outages = iter([True, True])

    def handler(claimed: Claim, _: Lease) -> Finish:
        def finish(connection: Connection) -> Sequence[Wakeup]:
            if next(outages, False):
                raise OperationalError("UPDATE work", {}, Exception("terminating connection"))
            return ingested(claimed)(connection)

        return finish

    house.runner({"ingest": handler}).run(work_id)
    unit = house.unit(work_id)
    assert (unit["state"], unit["attempt"]) == ("done", 1)


def test_a_database_that_stays_away_costs_an_attempt_not_the_worker(house: House) -> None:
    work_id = new_unit(house)

    def handler(_: Claim, __: Lease) -> Finish:
        def finish(_: Connection) -> Sequence[Wakeup]:
            raise OperationalError("UPDATE work", {}, Exception("terminating connection"))

        return finish

    house.runner({"ingest": handler}, patience_s=0.1).run(work_id)
    unit = house.unit(work_id)
    assert (unit["state"], unit["attempt"]) == ("queued", 1)
    assert unit["error"]["code"] == "database_unavailable"
