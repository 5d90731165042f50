"""Claim, renew, release, fail: who may work on a unit, and for how long."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.store.story import ERROR, OWNER, Story, scores_of
from winnow.errors import LeaseLost
from winnow.store import datasets, runs, scores, work
from winnow.store.work import Claim


def test_unit_that_is_claimed_is_not_claimed_again(story: Story) -> None:
    _, (wakeup,) = story.post()
    claim = story.take(wakeup)
    assert (claim.kind, claim.attempt, claim.max_attempts) == ("ingest", 1, 3)
    assert story.try_take(wakeup, worker="w2") is None


def test_of_two_workers_that_claim_at_once_one_gets_the_unit(story: Story) -> None:
    _, (wakeup,) = story.post()
    together = threading.Barrier(2)

    def race(worker: str) -> Claim | None:
        with story.database.transaction() as conn:
            together.wait()
            got = work.claim(
                conn, wakeup.work_id, worker_id=worker, lease_s=60, queues=[wakeup.queue]
            )
            # The first holds its transaction open; the second waits at the row and then looks again.
            threading.Event().wait(0.1)
            return got

    with ThreadPoolExecutor(2) as pool:
        got = list(pool.map(race, ["w1", "w2"]))
    assert sum(claim is not None for claim in got) == 1


def test_worker_claims_only_from_the_queues_that_it_offers(story: Story) -> None:
    _, (io,) = story.post()
    _, (scoring, _) = story.start(story.ready(sha256="b" * 64))
    offered = ["score.torch.float32.other"]
    for wakeup in (io, scoring):
        got = story.do(work.claim, wakeup.work_id, worker_id="w", lease_s=60, queues=offered)
        assert got is None
    assert story.try_take(io) is not None
    assert story.try_take(scoring) is not None


def test_worker_claims_only_kinds_that_it_knows(story: Story) -> None:
    """One that is older than the installation leaves what it has never heard of to others."""
    _, (wakeup,) = story.post()
    mine = {"worker_id": "w", "lease_s": 60, "queues": [wakeup.queue]}
    assert story.do(work.claim, wakeup.work_id, **mine, kinds=["score", "finalise"]) is None
    assert story.do(work.claim, wakeup.work_id, **mine, kinds=["ingest"]) is not None


def test_expired_lease_is_taken_over_and_the_late_finish_is_fenced(story: Story) -> None:
    run, (wakeup, _) = story.start(story.ready())
    slow = story.take(wakeup, worker="slow")
    story.age(wakeup.work_id, 61)
    fast = story.take(wakeup, worker="fast")
    assert fast.attempt == 2

    with pytest.raises(LeaseLost):
        story.score(slow)
    assert story.run(run).blocks_done == 0
    story.score(fast)
    with pytest.raises(LeaseLost):
        story.score(slow)
    assert story.run(run).blocks_done == 1


def test_lease_that_ran_out_is_still_held_while_nobody_took_over(story: Story) -> None:
    _, (wakeup,) = story.post()
    claim = story.take(wakeup)
    story.age(wakeup.work_id, 61)
    assert story.do(work.renew, claim, lease_s=60, rows_done=5) is False
    assert story.try_take(wakeup, worker="w2") is None


def test_everything_that_ends_a_unit_needs_the_lease(story: Story) -> None:
    run, (wakeup, _) = story.start(story.ready())
    old = story.take(wakeup)
    story.age(wakeup.work_id, 61)
    story.take(wakeup)
    with pytest.raises(LeaseLost):
        story.do(work.renew, old, lease_s=60, rows_done=1)
    with pytest.raises(LeaseLost):
        story.do(work.release, old)
    with pytest.raises(LeaseLost):
        story.do(work.fail_attempt, old, ERROR, permanent=True)
    assert story.run(run).status == "scoring"


def test_renewing_shows_the_rows_of_running_units_on_the_run(story: Story) -> None:
    run, wakeups = story.start(story.ready())
    first, second = (story.take(wakeup) for wakeup in wakeups)
    story.score(first)
    story.do(work.renew, second, lease_s=60, rows_done=500)
    assert story.run(run).rows_done == 1024 + 500
    story.score(second)
    assert story.run(run).rows_done == 2048


def test_release_does_not_count_the_attempt(story: Story) -> None:
    _, (wakeup,) = story.post()
    for _ in range(5):
        claim = story.take(wakeup)
        assert claim.attempt == 1
        assert story.do(work.release, claim) == [wakeup]


def test_failed_attempt_is_tried_again_after_a_pause_that_doubles(story: Story) -> None:
    _, (wakeup,) = story.post()
    for pause_s in (1, 2):
        assert story.fail(story.take(wakeup)) == []
        story.age(wakeup.work_id, pause_s - 0.5)
        assert story.try_take(wakeup) is None
        assert story.sweep().wakeups == []
        story.age(wakeup.work_id, 1)
        assert story.sweep().wakeups == [wakeup]


def test_pause_is_an_event_that_names_the_error(story: Story) -> None:
    run, (wakeup, _) = story.start(story.ready())
    story.fail(story.take(wakeup))
    (event,) = [one for one in story.events(run) if one.type == "run.retry"]
    assert "The engine broke." in event.message
    assert event.data == {"attempt": 1, "in_s": 1.0}


def test_failing_unit_makes_room_in_the_window_while_it_pauses(story: Story) -> None:
    run, (wakeup, _) = story.start(story.ready(num_blocks=3))
    (third,) = story.fail(story.take(wakeup))
    assert third.work_id == story.units(run)[2].id


def test_unit_out_of_attempts_fails_its_run_and_cancels_the_other_units(story: Story) -> None:
    run, (wakeup, other) = story.start(story.ready(num_blocks=4))
    running = story.take(other)
    for _ in range(3):
        story.fail(story.take(wakeup))
        story.age(wakeup.work_id, 100)
    failed = story.run(run)
    assert (failed.status, failed.error) == ("failed", ERROR)
    assert story.states(run) == {"failed": 1, "running": 1, "cancelled": 2}
    assert story.do(work.renew, running, lease_s=60, rows_done=1) is True


def test_permanent_failure_fails_the_run_at_the_first_attempt(story: Story) -> None:
    run, (wakeup, other) = story.start(story.ready())
    story.fail(story.take(wakeup), permanent=True)
    assert story.run(run).status == "failed"
    assert story.try_take(other) is None


def test_failed_ingest_fails_the_dataset_and_the_runs_that_wait_for_it(story: Story) -> None:
    dataset, (wakeup,) = story.post()
    run, _ = story.start(dataset)
    story.fail(story.take(wakeup), permanent=True)
    failed = story.do(datasets.get_dataset, owner=OWNER, dataset_id=dataset.id)
    assert (failed.status, failed.error) == ("failed", ERROR)
    assert (story.run(run).status, story.run(run).error) == ("failed", ERROR)


def test_cancel_reaches_queued_units_at_once_and_running_ones_at_the_next_renewal(
    story: Story,
) -> None:
    run, (first, second) = story.start(story.ready(num_blocks=3))
    claim = story.take(first)
    assert story.do(work.renew, claim, lease_s=60, rows_done=1) is False
    story.do(runs.cancel_run, owner=OWNER, run_id=run.id)
    assert story.states(run) == {"running": 1, "cancelled": 2}
    assert story.try_take(second) is None
    assert story.do(work.renew, claim, lease_s=60, rows_done=2) is True


def test_unit_of_a_cancelled_run_is_not_claimed_even_if_it_is_queued(story: Story) -> None:
    run, (first, _) = story.start(story.ready())
    claim = story.take(first)
    story.do(runs.cancel_run, owner=OWNER, run_id=run.id)
    story.do(work.release, claim)
    assert story.try_take(first) is None


def test_result_that_comes_after_a_cancel_is_neither_stored_nor_counted(story: Story) -> None:
    run, (first, _) = story.start(story.ready())
    claim = story.take(first)
    story.do(runs.cancel_run, owner=OWNER, run_id=run.id)
    assert story.do(work.finish_score, claim, scores_of(claim)) == []
    assert story.run(run).blocks_done == 0
    assert story.do(scores.page_scores, owner=OWNER, run_id=run.id).items == ()


def test_deleting_a_dataset_tells_its_ingest_to_stop(story: Story) -> None:
    dataset, (wakeup,) = story.post()
    claim = story.take(wakeup)
    story.do(datasets.delete_dataset, owner=OWNER, dataset_id=dataset.id)
    assert story.do(work.renew, claim, lease_s=60, rows_done=1) is True
