"""The sweeper: each thing that can be left behind is set going again, once, and nothing else is touched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, select, update

from tests.store.story import OWNER, Story
from winnow.messages import QUEUE_IO, Wakeup
from winnow.store import datasets, idempotency, runs, sweep, workers_registry
from winnow.store.clock import seconds
from winnow.store.tables import dataset as dataset_table
from winnow.store.tables import idempotency_key, work, worker
from winnow.store.work import finish_purge


def test_nothing_is_swept_while_all_goes_well(story: Story) -> None:
    run, wakeups = story.start(story.ready(num_blocks=4))
    story.take(wakeups[0])
    swept = story.sweep()
    assert swept.wakeups == []
    assert set(swept.counts.values()) == {0}
    assert story.states(run) == {"running": 1, "queued": 3}


def test_expired_lease_is_queued_again_and_the_run_says_so(story: Story) -> None:
    run, (wakeup, _) = story.start(story.ready())
    story.take(wakeup)
    story.age(wakeup.work_id, 61)
    swept = story.sweep()
    assert (swept.wakeups, swept.counts["lease_expired"]) == ([wakeup], 1)
    assert story.take(wakeup).attempt == 2
    assert story.events(run)[-1].type == "run.retry"


def test_unit_whose_worker_is_lost_every_time_fails_its_run(story: Story) -> None:
    run, (wakeup, other) = story.start(story.ready())
    for _ in range(2):
        story.take(wakeup)
        story.age(wakeup.work_id, 61)
        story.sweep()
    story.take(wakeup)
    story.age(wakeup.work_id, 61)
    assert story.try_take(wakeup) is None
    assert story.sweep().counts["failed"] == 1
    failed = story.run(run)
    assert failed.error is not None
    assert failed.error.code == "worker_lost"
    assert "tried 3 times" in failed.error.message
    assert story.try_take(other) is None


def test_ingest_whose_worker_is_lost_every_time_fails_the_dataset_and_is_read_again_when_posted(
    story: Story,
) -> None:
    dataset, (wakeup,) = story.post()
    run, _ = story.start(dataset)
    for _ in range(3):
        story.take(wakeup)
        story.age(wakeup.work_id, 61)
        story.sweep()
    assert story.run(run).status == "failed"
    again, wakeups = story.post()
    assert (again.id, again.status, again.error) == (dataset.id, "ingesting", None)
    assert len(wakeups) == 1


def test_message_that_is_not_claimed_is_sent_again_ever_more_seldom(story: Story) -> None:
    _, (wakeup,) = story.post()
    for wait_s in (8, 16, 32, 64, 128, 256, 300, 300):
        story.age(wakeup.work_id, wait_s - 3)  # a busy machine sweeps for a second
        assert story.sweep().wakeups == []
        story.age(wakeup.work_id, 3.5)
        assert story.sweep().wakeups == [wakeup]
    assert story.take(wakeup).attempt == 1


def test_message_that_an_idle_worker_did_not_get_is_lost_and_sent_again_at_once(
    story: Story,
) -> None:
    _, (wakeup,) = story.post()
    story.do(workers_registry.heartbeat, worker_id="w1", queues=[QUEUE_IO])
    for _ in range(5):
        assert story.sweep().wakeups == []
        story.age(wakeup.work_id, 9)
        assert story.sweep().wakeups == [wakeup]


def test_message_waits_its_turn_while_every_worker_is_busy(story: Story) -> None:
    _, (mine,) = story.post()
    _, (wakeup,) = story.post("b" * 64)
    story.do(workers_registry.heartbeat, worker_id="w1", queues=[QUEUE_IO])
    story.take(mine, worker="w1")
    story.age(wakeup.work_id, 9)
    assert story.sweep().wakeups == [wakeup]
    story.age(wakeup.work_id, 9)
    assert story.sweep().wakeups == []


def test_message_sent_for_days_does_not_break_the_sweeper(story: Story) -> None:
    _, (wakeup,) = story.post()
    story.do(lambda conn: conn.execute(update(work).values(publishes=100_000)))
    story.age(wakeup.work_id, 301)
    assert story.sweep().wakeups == [wakeup]


def test_units_under_the_window_are_published(story: Story) -> None:
    run, _ = story.start(story.ready(num_blocks=4))
    first, second, *_ = story.units(run)
    story.do(
        lambda conn: conn.execute(
            update(work).where(work.c.id.in_([first.id, second.id])).values(published_at=None)
        )
    )
    assert [wakeup.work_id for wakeup in story.sweep().wakeups] == [first.id, second.id]
    assert story.sweep().wakeups == []


def test_run_all_done_but_not_finalised_is_finalised_once(story: Story) -> None:
    run, wakeups = story.start(story.ready())
    for wakeup in wakeups:
        story.score(story.take(wakeup))
    story.do(lambda conn: conn.execute(delete(work).where(work.c.kind == "finalise")))
    story.set_run(run, status="scoring")
    swept = story.sweep()
    assert swept.counts["finalised"] == 1
    assert story.run(run).status == "finalizing"
    assert story.sweep().wakeups == []
    assert story.complete(run, swept.wakeups).status == "completed"


def test_units_of_a_cancelled_run_are_closed_when_their_worker_is_gone(story: Story) -> None:
    run, (wakeup, _) = story.start(story.ready())
    story.take(wakeup)
    story.do(runs.cancel_run, owner=OWNER, run_id=run.id)
    assert story.sweep().counts["cancelled"] == 0
    story.age(wakeup.work_id, 61)
    assert story.sweep().counts["cancelled"] == 1
    assert story.states(run) == {"cancelled": 2}


def test_ingest_of_a_deleted_dataset_is_closed(story: Story) -> None:
    dataset, (wakeup,) = story.post()
    story.take(wakeup)
    story.do(datasets.delete_dataset, owner=OWNER, dataset_id=dataset.id)
    story.age(wakeup.work_id, 61)
    assert story.sweep().counts["cancelled"] == 1


def test_purge_that_was_given_up_is_tried_again_ever_more_seldom(story: Story) -> None:
    dataset, _ = story.post()
    (wakeup,) = story.do(datasets.delete_dataset, owner=OWNER, dataset_id=dataset.id)
    for _ in range(10):
        story.fail(story.take(wakeup))
        story.age(wakeup.work_id, 61)
    for pause_s in (900, 1800, 3600):
        assert story.try_take(wakeup) is None
        _let_pass(story, wakeup, pause_s - 1)
        assert story.sweep().counts["purge_retried"] == 0
        _let_pass(story, wakeup, 2)
        swept = story.sweep()
        assert (swept.counts["purge_retried"], swept.wakeups) == (1, [wakeup])
        story.fail(story.take(wakeup))
    _let_pass(story, wakeup, 7201)
    story.sweep()
    story.do(finish_purge, story.take(wakeup))
    assert story.do(lambda conn: conn.execute(select(dataset_table)).all()) == []


def _let_pass(story: Story, wakeup: Wakeup, duration_s: float) -> None:
    earlier = work.c.finished_at - seconds(duration_s)
    mine = update(work).where(work.c.id == wakeup.work_id).values(finished_at=earlier)
    story.do(lambda conn: conn.execute(mine))


def test_two_sweepers_at_once_heal_each_unit_once(story: Story) -> None:
    _, wakeups = story.start(story.ready())
    for wakeup in wakeups:
        story.take(wakeup)
        story.age(wakeup.work_id, 61)
    steps = dict(sweep.STEPS)
    with story.database.transaction() as conn:
        mine = steps["lease_expired"](conn, story.settings)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(story.sweep).result(timeout=10)
    assert [*mine.wakeups, *other.wakeups] == wakeups


@pytest.mark.parametrize(("age_h", "left"), [(23, 1), (25, 0)])
def test_idempotency_keys_are_kept_for_a_day(story: Story, age_h: float, left: int) -> None:
    story.do(idempotency.begin, owner=OWNER, key="k", request_hash="h")
    earlier = idempotency_key.c.created_at - seconds(age_h * 3600)
    story.do(lambda conn: conn.execute(update(idempotency_key).values(created_at=earlier)))
    story.sweep()
    assert len(story.do(lambda conn: conn.execute(select(idempotency_key)).all())) == left


def test_workers_that_left_without_a_word_are_forgotten(story: Story) -> None:
    story.do(workers_registry.heartbeat, worker_id="gone", queues=[QUEUE_IO])
    earlier = worker.c.seen_at - seconds(3601)
    story.do(lambda conn: conn.execute(update(worker).values(seen_at=earlier)))
    story.sweep()
    assert story.do(workers_registry.live_workers, within_s=1e6) == []
