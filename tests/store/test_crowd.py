"""Many workers, sweepers and deletions at once: every unit counts once, and nobody waits in a circle."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import func, select

from tests.store.story import ERROR, OWNER, Story, scores_of
from winnow.errors import LeaseLost, NotFound
from winnow.store import datasets, runs, work
from winnow.store.runs import Run
from winnow.store.tables import score
from winnow.store.tables import work as work_table
from winnow.store.work import Claim

NUM_WORKERS = 6
NUM_BLOCKS = 12


def test_crowd_completes_every_run_that_is_left_alone(story: Story) -> None:
    patient = story.settings.model_copy(update={"max_attempts": 1000, "units_in_flight": 4})
    crowd = Story(database=story.database, settings=patient)
    kept = [_start(crowd, "a"), _start(crowd, "b")]
    stopped = [_start(crowd, "c"), _start(crowd, "d")]
    done = threading.Event()

    with ThreadPoolExecutor(NUM_WORKERS + 2) as pool:
        jobs = [pool.submit(_worker, crowd, number, done) for number in range(NUM_WORKERS)]
        jobs.append(pool.submit(_sweeper, crowd, done))
        jobs.append(pool.submit(_disturb, crowd, stopped))
        try:
            while not all(crowd.run(run).status == "completed" for run in kept):
                assert not any(job.done() and job.exception() for job in jobs)
                done.wait(0.05)
        finally:
            done.set()
        for job in jobs:
            job.result()

    for run in kept:
        counted = crowd.run(run)
        assert counted.blocks_done == NUM_BLOCKS
        assert counted.rows_done == counted.rows == _num_scores(crowd, run)


def _start(story: Story, letter: str) -> Run:
    return story.start(story.ready(NUM_BLOCKS, sha256=letter * 64))[0]


def _worker(story: Story, number: int, done: threading.Event) -> None:
    """Take anything that can be taken; lose, release or fail some of it."""
    chance = random.Random(number)  # noqa: S311
    while not done.is_set():
        for unit in _open_units(story):
            claim = story.do(
                work.claim, unit.id, worker_id=f"w{number}", lease_s=0.05, queues=[unit.queue]
            )
            if claim is not None:
                _work(story, claim, chance.random())
        done.wait(0.01)


def _work(story: Story, claim: Claim, luck: float) -> None:
    try:
        if luck < 0.1:
            return  # killed: the lease runs out
        if luck < 0.2:
            story.do(work.release, claim)
        elif luck < 0.25:
            story.do(work.fail_attempt, claim, ERROR, permanent=False)
        elif not story.do(work.renew, claim, lease_s=0.5, rows_done=1):
            _finish(story, claim)
    except LeaseLost:
        pass


def _finish(story: Story, claim: Claim) -> None:
    if claim.kind == "score":
        story.do(work.finish_score, claim, scores_of(claim))
    elif claim.kind == "finalise":
        story.do(work.finish_finalise, claim, summary={}, warnings=[])
    else:
        story.do(work.finish_purge, claim)


def _sweeper(story: Story, done: threading.Event) -> None:
    while not done.wait(0.02):
        story.sweep()


def _disturb(story: Story, stopped: list[Run]) -> None:
    cancelled, deleted = stopped
    story.do(runs.cancel_run, owner=OWNER, run_id=cancelled.id)
    story.do(datasets.delete_dataset, owner=OWNER, dataset_id=deleted.dataset_id)
    try:
        story.do(runs.delete_run, owner=OWNER, run_id=deleted.id)
    except NotFound:
        story.do(runs.delete_run, owner=OWNER, run_id=cancelled.id)


def _open_units(story: Story) -> list[Any]:
    statement = select(work_table.c.id, work_table.c.queue).where(
        work_table.c.state.in_(["queued", "running"])
    )
    return story.do(lambda conn: conn.execute(statement.order_by(func.random())).all())


def _num_scores(story: Story, run: Run) -> int:
    statement = select(func.count()).where(score.c.run_id == run.id)
    return story.do(lambda conn: conn.scalar(statement))
