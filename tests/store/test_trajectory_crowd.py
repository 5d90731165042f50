"""Many workers, sweepers, new runs and deletions at once, over trajectories: nobody waits in a circle."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import func, select

from tests.store.paths import LP, PLAN, S2L, Paths
from tests.store.story import ERROR, OWNER, Story, scores_of
from winnow.errors import Conflict, LeaseLost, NotFound
from winnow.store import datasets, runs, training, trajectories, work
from winnow.store.datasets import Dataset
from winnow.store.runs import Run
from winnow.store.tables import work as work_table
from winnow.store.work import Claim

NUM_WORKERS = 5
NUM_BLOCKS = 4
LEASE_S = 0.5


def test_crowd_completes_what_is_left_alone_and_ends_the_rest(story: Story) -> None:
    patient = story.settings.model_copy(update={"max_attempts": 1000, "units_in_flight": 4})
    paths = Paths(story=Story(database=story.database, settings=patient))
    kept, stopped = (_ready(paths, letter) for letter in "ab")
    waiting = [paths.start(kept, spec) for spec in (S2L, LP)]
    done = threading.Event()
    with ThreadPoolExecutor(NUM_WORKERS + 4) as pool:
        jobs = [pool.submit(_worker, paths, number, done) for number in range(NUM_WORKERS)]
        jobs += [pool.submit(_sweeper, paths, done) for _ in range(2)]
        jobs.append(pool.submit(_begin_and_cancel, paths, kept))
        jobs.append(pool.submit(_disturb, paths, stopped))
        try:
            while not (jobs[-1].done() and _completed(paths, waiting)):
                for job in jobs:
                    if job.done():
                        job.result()
                done.wait(0.05)
        finally:
            done.set()
        for job in jobs:
            job.result()

    (trajectory_id,) = {paths.story.run(run).trajectory_id for run in waiting}
    assert trajectory_id is not None
    counted = paths.load(trajectory_id)
    assert counted.checkpoints_done == len(PLAN)
    assert counted.rows_done == len(PLAN) * counted.rows
    assert {one.blocks_done for one in paths.checkpoints(counted)} == {NUM_BLOCKS}


def _ready(paths: Paths, letter: str) -> Dataset:
    return paths.story.ready(NUM_BLOCKS, sha256=letter * 64)


def _completed(paths: Paths, waiting: list[Run]) -> bool:
    return all(paths.story.run(run).status == "completed" for run in waiting)


def _worker(paths: Paths, number: int, done: threading.Event) -> None:
    """Take anything that can be taken; lose, release or fail some of it."""
    chance = random.Random(number)  # noqa: S311
    while not done.is_set():
        for unit in _open_units(paths):
            claim = paths.try_take(unit, worker=f"w{number}", lease_s=LEASE_S)
            if claim is not None:
                _work(paths, claim, chance.random())
        done.wait(0.01)


def _work(paths: Paths, claim: Claim, luck: float) -> None:
    story = paths.story
    try:
        if luck < 0.1:
            return  # killed: the lease runs out
        if luck < 0.15:
            story.do(work.release, claim)
        elif luck < 0.2:
            story.do(work.fail_attempt, claim, ERROR, permanent=False)
        elif not story.do(work.renew, claim, lease_s=LEASE_S, rows_done=1):
            _finish(paths, claim)
    except LeaseLost:
        pass


def _finish(paths: Paths, claim: Claim) -> None:
    story = paths.story
    match claim.kind:
        case "prepare":
            story.do(training.finish_prepare, claim, rows=8, provenance={})
        case "train":
            settled = {"hyperparameters": {}, "provenance": {}}
            story.do(training.record_plan, claim, [], total_steps=6, **settled)
            paths.keep_all(claim)
            if len(paths.checkpoints(paths.load(str(claim.trajectory_id)))) == len(PLAN):
                paths.end_training(claim)
        case "evaluate":
            paths.evaluate(claim)
        case "score":
            story.do(work.finish_score, claim, scores_of(claim))
        case "finalise":
            story.do(work.finish_finalise, claim, summary={}, warnings=[])
        case _:
            story.do(work.finish_purge, claim)


def _sweeper(paths: Paths, done: threading.Event) -> None:
    while not done.wait(0.02):
        paths.story.sweep()


def _begin_and_cancel(paths: Paths, dataset: Dataset) -> None:
    """Runs that come and go beside those that stay."""
    for number in range(8):
        run = paths.start(dataset, LP if number % 2 else S2L)
        try:
            paths.cancel(run)
        except Conflict:
            continue


def _disturb(paths: Paths, dataset: Dataset) -> None:
    """Trajectories that are cancelled, let go of, and deleted with their dataset."""
    for spec in (S2L, LP, S2L):
        run = paths.start(dataset, spec)
        trajectory = paths.of(run)
        try:
            mine = {"owner": OWNER, "trajectory_id": trajectory.id}
            paths.story.do(trajectories.cancel_trajectory, **mine)
        except Conflict:
            paths.story.do(runs.delete_run, owner=OWNER, run_id=run.id)
    for _ in range(3):
        paths.start(dataset)
    paths.story.do(datasets.delete_dataset, owner=OWNER, dataset_id=dataset.id)
    try:
        paths.start(dataset)
    except NotFound:
        return
    raise AssertionError("a run began on a deleted dataset")


def _open_units(paths: Paths) -> list[Any]:
    open_ = work_table.c.state.in_(["queued", "running"])
    statement = select(work_table.c.id, work_table.c.queue).where(open_)
    return paths.story.do(lambda conn: conn.execute(statement.order_by(func.random())).all())
