"""How trajectories end: deleted, replaced when training begins again, or asked for weights that are gone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from tests.store.paths import LP, OPTIONS, PLAN, S2L, Paths
from tests.store.story import OWNER, Story
from winnow.errors import Conflict, NotFound
from winnow.messages import Wakeup
from winnow.spec import RunSpec
from winnow.store import datasets, evaluation, runs, trajectories, work
from winnow.store.runs import Run
from winnow.store.tables import metadata
from winnow.store.trajectories import Trajectory

KEEPING = RunSpec.make(method="s2l", **OPTIONS, keep_weights=True)


@pytest.fixture
def paths(story: Story) -> Paths:
    return Paths(story=story)


def delete(story: Story, trajectory: Trajectory, *, owner: str = OWNER) -> list[Wakeup]:
    return story.do(trajectories.delete_trajectory, owner=owner, trajectory_id=trajectory.id)


def count(story: Story, name: str) -> int:
    counted = select(func.count()).select_from(metadata.tables[name])
    return story.do(lambda conn: conn.execute(counted).scalar_one())


def scored(paths: Paths) -> tuple[Run, Trajectory]:
    """A completed run on its trajectory."""
    story = paths.story
    run, trajectory = paths.begun()
    done = paths.complete(trajectory)
    scoring = [Wakeup(work_id=unit.id, queue=unit.queue) for unit in story.units(run)]
    return story.complete(run, scoring), done


def another(paths: Paths, run: Run, spec: RunSpec = S2L) -> Run:
    """One more run on the same dataset."""
    data = {"owner": OWNER, "dataset_id": run.dataset_id}
    return paths.start(paths.story.do(datasets.get_dataset, **data), spec)


def test_a_deleted_trajectory_is_gone_and_its_runs_keep_their_scores(
    paths: Paths, story: Story
) -> None:
    run, trajectory = scored(paths)
    (purge,) = delete(story, trajectory)
    with pytest.raises(NotFound):
        story.do(trajectories.get_trajectory, owner=OWNER, trajectory_id=trajectory.id)
    assert another(paths, run).trajectory_id != trajectory.id
    story.do(work.finish_purge, story.take(purge))
    assert [count(story, name) for name in ("trajectory", "fine_tune")] == [1, 1]
    left = story.run(run)
    assert (left.status, left.trajectory_id) == ("completed", None)
    with pytest.raises(NotFound):
        delete(story, trajectory)


@pytest.mark.parametrize("status", ["training", "scoring"])
def test_one_that_a_run_still_uses_is_not_deleted(paths: Paths, story: Story, status: str) -> None:
    run, trajectory = paths.begun()
    if status == "scoring":
        paths.complete(trajectory)
    assert story.run(run).status == status
    with pytest.raises(Conflict, match=run.id):
        delete(story, trajectory)
    story.do(runs.cancel_run, owner=OWNER, run_id=run.id)
    delete(story, trajectory)


def test_one_that_was_cancelled_leaves_no_row_either(paths: Paths, story: Story) -> None:
    run, trajectory = paths.begun()
    for purge in paths.cancel(run):
        story.do(work.finish_purge, story.take(purge))
    assert count(story, "trajectory") == 1
    (purge,) = delete(story, trajectory)
    story.do(work.finish_purge, story.take(purge))
    assert [count(story, name) for name in ("trajectory", "trajectory_checkpoint")] == [0, 0]


def test_a_run_that_begins_while_it_is_deleted_has_one_or_another(
    paths: Paths, story: Story
) -> None:
    run, trajectory = scored(paths)
    begin = threading.Barrier(2)

    def try_to_delete() -> bool:
        begin.wait()
        try:
            delete(story, trajectory)
        except Conflict:
            return False
        return True

    def start() -> Run:
        begin.wait()
        return another(paths, run, LP)

    with ThreadPoolExecutor(2) as pool:
        deleted, begun = pool.submit(try_to_delete), pool.submit(start)
    assert deleted.result() == (begun.result().trajectory_id != trajectory.id)


def test_a_trajectory_of_another_owner_is_not_deleted(paths: Paths, story: Story) -> None:
    _, trajectory = scored(paths)
    with pytest.raises(NotFound):
        delete(story, trajectory, owner="bob")
    assert paths.get(trajectory).status == "completed"


def test_training_that_begins_again_is_another_trajectory(paths: Paths, story: Story) -> None:
    run, old, claim = paths.training()
    also = another(paths, run, LP)
    paths.keep(claim, PLAN[1])
    (unit, *_) = paths.open(old, "evaluate")
    evaluating = paths.take(unit)
    wakeups = story.do(evaluation.begin_anew, claim)
    new = paths.of(run)
    assert new.id != old.id == claim.trajectory_id
    assert paths.of(also).id == new.id
    assert (paths.get(old).status, new.status) == ("cancelled", "queued")
    assert [one.step for one in paths.checkpoints(new)] == [0]
    assert {story.run(one).status for one in (run, also)} == {"training"}
    assert story.events(run)[-1].data == {"trajectory": new.id}
    # Whoever still evaluates the old one is told to stop, and counts for nothing.
    assert story.do(work.renew, evaluating, lease_s=60, rows_done=0) is True
    assert {one.work_id for one in wakeups} >= {one.id for one in paths.open(new, "prepare")}
    assert paths.complete(new).status == "completed"
    assert {story.run(one).status for one in (run, also)} == {"scoring"}
    assert set(story.sweep().counts.values()) == {0}


def test_training_that_begins_again_and_again_comes_to_an_end(paths: Paths, story: Story) -> None:
    run, trajectory, claim = paths.training()
    trained = [trajectory.id]
    while story.run(run).status == "training":
        paths.keep(claim, PLAN[1])
        story.age(claim.work_id, 61)
        story.sweep()
        (unit,) = paths.units(trajectory, "train")
        again = paths.try_take(unit)
        if again is None:
            break
        story.do(evaluation.begin_anew, again)
        trajectory = paths.of(run)
        trained.append(trajectory.id)
        claim = paths.train(trajectory)
    assert len(set(trained)) == story.settings.max_attempts
    error = story.run(run).error
    assert error is not None
    assert error.code == "worker_lost"


def test_weights_that_are_gone_cannot_be_kept(paths: Paths, story: Story) -> None:
    run, trajectory = scored(paths)
    with pytest.raises(Conflict, match=f"DELETE /trajectories/{trajectory.id}") as refused:
        another(paths, run, KEEPING)
    assert refused.value.param == "keep_weights"
    assert len(story.do(runs.list_runs, owner=OWNER).items) == 1
    delete(story, trajectory)
    anew = another(paths, run, KEEPING)
    assert paths.of(anew).keep_weights
    paths.complete(paths.of(anew))
    assert another(paths, run, KEEPING).trajectory_id == anew.trajectory_id


def test_weights_of_which_some_were_read_cannot_all_be_kept(paths: Paths) -> None:
    run, trajectory, claim = paths.training()
    paths.keep(claim, PLAN[1])
    paths.evaluate_all(trajectory)
    with pytest.raises(Conflict, match="that were read"):
        another(paths, run, KEEPING)
    assert not paths.get(trajectory).keep_weights
