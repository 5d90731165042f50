"""The sweeper and trajectories: nothing waits for ever, whatever a fault left behind."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, update

from tests.store.paths import PLAN, Paths
from tests.store.story import ERROR, Story
from winnow.store import trajectory_progress
from winnow.store.tables import work


@pytest.fixture
def paths(story: Story) -> Paths:
    return Paths(story=story)


def test_nothing_is_healed_while_all_goes_well(paths: Paths, story: Story) -> None:
    _, trajectory, claim = paths.training()
    paths.keep(claim, PLAN[1])
    paths.evaluate(paths.take(paths.open(trajectory, "evaluate")[0]))
    assert set(story.sweep().counts.values()) == {0}
    paths.keep(claim, PLAN[2])
    paths.end_training(claim)
    paths.evaluate_all(trajectory)
    assert set(story.sweep().counts.values()) == {0}


def test_all_evaluated_and_not_completed(paths: Paths, story: Story) -> None:
    run, trajectory = paths.begun()
    paths.complete(trajectory)
    paths.set(trajectory, status="evaluating")
    story.set_run(run, status="training")
    with story.database.transaction() as conn:
        conn.execute(delete(work).where(work.c.run_id == run.id))
    assert story.sweep().counts["healed"] == 1
    assert (paths.get(trajectory).status, story.run(run).status) == ("completed", "scoring")
    assert story.states(run) == {"queued": 2}


@pytest.mark.parametrize(
    ("status", "expected"),
    [("completed", "scoring"), ("failed", "failed"), ("cancelled", "cancelled")],
)
def test_a_run_waits_for_a_trajectory_that_is_over(
    paths: Paths, story: Story, status: str, expected: str
) -> None:
    run, trajectory = paths.begun()
    error = {"error": ERROR.as_dict()} if status == "failed" else {}
    paths.set_training(trajectory, status="succeeded")
    paths.set(trajectory, status=status, **error)
    assert story.sweep().counts["healed"] == 1
    assert story.run(run).status == expected
    assert story.sweep().counts["healed"] == 0


def test_a_run_that_is_held_while_its_trajectory_ends_goes_on_later(
    paths: Paths, story: Story
) -> None:
    run, trajectory, claim = paths.training()
    with story.database.transaction() as held:
        trajectory_progress.progress.move(held, run.id, "scoring", "Held.")
        story.fail(claim, permanent=True)
        assert paths.get(trajectory).status == "failed"
        held.rollback()
    assert story.run(run).status == "training"
    story.sweep()
    assert story.run(run).status == "failed"


def test_no_run_needs_it(paths: Paths, story: Story) -> None:
    run, trajectory = paths.begun()
    story.set_run(run, status="cancelled")
    swept = story.sweep()
    now = paths.get(trajectory)
    assert now.training is not None
    assert (now.status, now.training.status) == ("cancelled", "cancelled")
    assert {story.take(one).kind for one in swept.wakeups} == {"purge"}


@pytest.mark.parametrize("kind", ["prepare", "train"])
def test_its_training_has_no_unit(paths: Paths, story: Story, kind: str) -> None:
    _, trajectory = paths.begun()
    if kind == "train":
        paths.train(trajectory)
    with story.database.transaction() as conn:
        conn.execute(delete(work).where(work.c.kind == kind))
    assert story.sweep().counts["restarted"] == 1
    (again,) = paths.open(trajectory, kind)
    assert paths.take(again).trajectory_id == trajectory.id


@pytest.mark.parametrize(
    ("status", "expected"), [("succeeded", "evaluating"), ("cancelled", "cancelled")]
)
def test_its_training_is_over_and_it_does_not_know(
    paths: Paths, story: Story, status: str, expected: str
) -> None:
    _, trajectory, claim = paths.training()
    paths.keep_all(claim)
    paths.set_training(trajectory, status=status)
    story.sweep()
    assert paths.get(trajectory).status == expected


def test_its_training_has_failed_and_it_does_not_know(paths: Paths, story: Story) -> None:
    run, trajectory, _ = paths.training()
    paths.set_training(trajectory, status="failed", error=ERROR.as_dict())
    story.sweep()
    assert (paths.get(trajectory).error, story.run(run).error) == (ERROR, ERROR)


def test_what_another_holds_is_left_alone(paths: Paths, story: Story) -> None:
    run, trajectory = paths.begun()
    story.set_run(run, status="cancelled")
    with story.database.transaction() as held:
        trajectory_progress.lock(held, trajectory.id)
        assert story.sweep().counts["healed"] == 0
    assert story.sweep().counts["healed"] == 1


def test_a_unit_whose_worker_is_lost_every_time_fails_it(paths: Paths, story: Story) -> None:
    run, trajectory = paths.begun()
    (unit, *_) = paths.open(trajectory, "evaluate")
    for _ in range(3):
        paths.take(unit)
        story.age(unit.id, 61)
        story.sweep()
    error = story.run(run).error
    assert error is not None
    assert (error.code, paths.get(trajectory).status) == ("worker_lost", "failed")


def test_a_unit_that_was_given_up_without_a_word_fails_it(paths: Paths, story: Story) -> None:
    """As workers of the version before trajectories do it."""
    run, trajectory = paths.begun()
    (unit, *_) = paths.open(trajectory, "evaluate")
    error = {"code": "internal_error", "message": "KeyError: 'evaluate'"}
    with story.database.transaction() as conn:
        given_up = update(work).where(work.c.id == unit.id)
        conn.execute(given_up.values(state="failed", attempt=3, error=error))
    assert story.sweep().counts["healed"] == 1
    told = story.run(run).error
    assert told is not None
    assert (told.code, paths.get(trajectory).status) == ("evaluation_failed", "failed")
    assert "KeyError: 'evaluate'" in told.message
    assert "earlier version" in told.message
    assert story.sweep().counts["healed"] == 0


def test_units_that_failed_are_published_again_when_they_are_due(
    paths: Paths, story: Story
) -> None:
    _, trajectory = paths.begun()
    units = paths.open(trajectory, "evaluate")
    for unit in units:
        story.fail(paths.take(unit))
    for unit in units:
        story.age(unit.id, 2)
    assert [one.work_id for one in story.sweep().wakeups] == [unit.id for unit in units]
