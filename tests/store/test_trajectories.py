"""Trajectories: runs share one, it is evaluated checkpoint by checkpoint, and its end is the end of their wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select, update

from tests.store.paths import LP, OPTIONS, PLAN, S2L, Paths
from tests.store.story import ERROR, OWNER, Story
from winnow.errors import Conflict, InvalidOption, LeaseLost, NotFound, RevisionMismatch
from winnow.messages import QUEUE_IO, QUEUE_TRAIN
from winnow.spec import RunSpec
from winnow.store import (
    datasets,
    evaluation,
    events,
    fine_tunes,
    purge,
    runs,
    training,
    trajectories,
    trajectory_use,
    work,
    workers_registry,
)
from winnow.store.tables import dataset as dataset_table
from winnow.store.tables import metadata
from winnow.store.tables import work as work_table
from winnow.store.trajectories import Trajectory
from winnow.store.trajectory_progress import checkpoint_name
from winnow.trajectory import Checkpoint


@pytest.fixture
def paths(story: Story) -> Paths:
    return Paths(story=story)


def test_a_run_goes_through_training_to_its_scores(paths: Paths, story: Story) -> None:
    run, trajectory = paths.begun()
    assert (story.run(run).status, trajectory.status, trajectory.num_checkpoints) == (
        *("training", "queued"),
        None,
    )
    claim = paths.train(trajectory)
    assert (paths.get(trajectory).status, paths.get(trajectory).num_checkpoints) == ("training", 3)
    paths.keep_all(claim)
    paths.end_training(claim)
    assert (paths.get(trajectory).status, story.run(run).status) == ("evaluating", "training")
    wakeups = paths.evaluate_all(trajectory)
    done = paths.get(trajectory)
    assert (done.status, done.checkpoints_done, done.rows_done) == ("completed", 3, 3 * done.rows)
    scoring = [one for one in wakeups if one.work_id in {unit.id for unit in story.units(run)}]
    assert (len(scoring), {one.queue for one in scoring}) == (2, {QUEUE_IO})
    assert story.complete(run, scoring).status == "completed"
    assert [event.type.removeprefix("run.") for event in story.events(run)] == [
        *("queued", "training", "scoring", "finalizing", "completed"),
    ]
    assert paths.types(trajectory) == [
        *("queued", "training", "kept", "kept", "evaluating"),
        *("evaluated", "evaluated", "evaluated", "completed"),
    ]


def test_runs_that_begin_at_once_share_one_trajectory(paths: Paths, story: Story) -> None:
    dataset = story.ready()
    begin = threading.Barrier(6)

    def start(number: int) -> str | None:
        begin.wait()
        return paths.start(dataset, LP if number % 2 else S2L).trajectory_id

    with ThreadPoolExecutor(6) as pool:
        used = set(pool.map(start, range(6)))
    (trajectory_id,) = used
    assert trajectory_id is not None
    trajectory = paths.load(trajectory_id)
    assert len(paths.units(trajectory, "prepare")) == 1
    assert len(paths.units(trajectory, "evaluate")) == 2


def test_the_index_alone_keeps_two_from_making_the_same_one(paths: Paths, story: Story) -> None:
    dataset, _ = story.post()
    waiting = [paths.start(dataset, spec) for spec in (S2L, LP)]
    ready = {"status": "ready", "rows_read": 2048, "rows_usable": 2000, "num_blocks": 2}
    with story.database.transaction() as conn:
        conn.execute(update(dataset_table).values(**ready))
    begin = threading.Barrier(2)

    def start(run_id: str) -> None:
        """Without the lock of the dataset, which takes them one after the other elsewhere."""
        with story.database.transaction() as conn:
            conn.execute(select(1))
            begin.wait()
            trajectory_use.start_run(conn, run_id)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(start, [run.id for run in waiting]))
    assert paths.of(waiting[0]).id == paths.of(waiting[1]).id


def test_a_second_method_costs_no_training(paths: Paths, story: Story) -> None:
    run, trajectory = paths.begun()
    story.do(evaluation.adopt_trajectory_revision, trajectory.id, "files", 512)
    paths.complete(trajectory)
    before = _num_units(story, ("prepare", "train", "evaluate"))
    second, wakeups = story.start(
        story.do(datasets.get_dataset, owner=OWNER, dataset_id=run.dataset_id), spec=LP
    )
    assert (second.status, second.trajectory_id) == ("scoring", trajectory.id)
    assert (second.revision, second.window) == ("files", 512)
    assert {one.queue for one in wakeups} == {second.offer.queue}
    assert _num_units(story, ("prepare", "train", "evaluate")) == before
    assert story.run(run).revision == "files"


@pytest.mark.parametrize(
    "other",
    [
        RunSpec.make(method="s2l", **(OPTIONS | {"points": 3})),
        RunSpec.make(method="s2l", **OPTIONS, learning_rate=0.1),
        RunSpec.make(method="s2l", **OPTIONS, dtype="bfloat16"),
    ],
)
def test_runs_that_differ_in_what_decides_losses_share_nothing(
    paths: Paths, story: Story, other: RunSpec
) -> None:
    dataset = story.ready()
    first, second = paths.start(dataset), paths.start(dataset, other)
    assert first.trajectory_id != second.trajectory_id


def test_runs_on_other_model_files_share_nothing(paths: Paths, story: Story) -> None:
    dataset = story.ready()
    used = [paths.start(dataset, revision=files).trajectory_id for files in ("a", "b", "a", None)]
    assert used[0] == used[2]
    assert len(set(used)) == 3


def test_a_trajectory_that_failed_is_not_shared(paths: Paths, story: Story) -> None:
    run, trajectory = paths.begun()
    (unit, *_) = paths.open(trajectory, "evaluate")
    story.fail(paths.take(unit), permanent=True)
    dataset = story.do(datasets.get_dataset, owner=OWNER, dataset_id=run.dataset_id)
    again = paths.start(dataset)
    assert (again.status, again.trajectory_id != trajectory.id) == ("training", True)


def test_a_run_on_a_dataset_that_is_still_read_begins_afterwards(
    paths: Paths, story: Story
) -> None:
    dataset, (ingest,) = story.post()
    waiting = [paths.start(dataset, spec) for spec in (S2L, LP)]
    assert [run.trajectory_id for run in waiting] == [None, None]
    story.ingest(story.take(ingest))
    assert {story.run(run).status for run in waiting} == {"training"}
    assert len({story.run(run).trajectory_id for run in waiting}) == 1


def test_a_dataset_without_a_usable_row_begins_no_training(paths: Paths, story: Story) -> None:
    dataset, (ingest,) = story.post()
    run = paths.start(dataset)
    story.ingest(story.take(ingest), num_usable=0)
    assert (story.run(run).status, story.run(run).trajectory_id) == ("failed", None)


def test_a_run_that_needs_a_trajectory_uses_no_cache_of_losses(paths: Paths, story: Story) -> None:
    run = paths.start(story.ready(), RunSpec.make(method="s2l", **OPTIONS, cache=True))
    assert (run.spec.cache, run.cache_snapshot) == (False, None)


def test_a_dry_run_begins_no_training(story: Story) -> None:
    run, (estimate,) = story.start(story.ready(), spec=S2L, dry_run=True)
    assert (story.run(run).status, story.run(run).trajectory_id) == ("scoring", None)
    assert story.take(estimate).kind == "estimate"


def test_units_come_checkpoint_by_checkpoint_and_window_by_window(paths: Paths) -> None:
    _, trajectory, claim = paths.training(num_blocks=3)
    paths.keep_all(claim)
    taken = []
    while units := paths.open(trajectory, "evaluate"):
        assert len(units) <= paths.story.settings.units_in_flight
        taken.append(paths.take(units[0]))
        paths.evaluate(taken[-1])
    order = [(one.checkpoint, one.first_block) for one in taken]
    assert order == [(position, block) for position in range(3) for block in range(3)]


def test_a_unit_that_failed_goes_before_later_checkpoints_again(paths: Paths, story: Story) -> None:
    _, trajectory, claim = paths.training(num_blocks=3)
    paths.keep_all(claim)
    (first, second) = paths.open(trajectory, "evaluate")
    story.fail(paths.take(first))
    story.age(first.id, 2)
    paths.evaluate(paths.take(second))
    assert {(one.checkpoint, one.first_block) for one in paths.open(trajectory, "evaluate")} == {
        (0, 0),
        (0, 2),
    }


def test_a_checkpoint_is_kept_once(paths: Paths) -> None:
    _, trajectory, claim = paths.training()
    kept, _ = paths.keep(claim, PLAN[1], folder="weights/a")
    assert kept
    again, wakeups = paths.keep(claim, PLAN[1], folder="weights/a")
    assert (again, wakeups) == (True, [])
    other, wakeups = paths.keep(claim, PLAN[1], folder="weights/b")
    assert (other, wakeups) == (False, [])
    assert [one.folder for one in paths.checkpoints(trajectory)] == [None, "weights/a"]
    assert len(paths.units(trajectory, "evaluate")) == 2 * trajectory.blocks
    assert paths.types(trajectory).count("kept") == 1


def test_a_worker_that_lost_its_lease_keeps_nothing(paths: Paths, story: Story) -> None:
    _, trajectory, claim = paths.training()
    story.age(claim.work_id, 61)
    story.sweep()
    with pytest.raises(LeaseLost):
        paths.keep(claim, PLAN[1])
    with pytest.raises(LeaseLost):
        paths.end_training(claim)
    assert len(paths.checkpoints(trajectory)) == 1


def test_weights_go_away_when_all_rows_are_evaluated(paths: Paths, story: Story) -> None:
    _, trajectory, claim = paths.training()
    paths.keep(claim, PLAN[1])
    paths.evaluate_all(trajectory)
    (unit,) = paths.units(trajectory, "purge")
    assert unit.subject == checkpoint_name(trajectory.id, 1)
    before = paths.checkpoints(trajectory)[1]
    assert (before.folder is not None, before.blocks_done, before.mean_loss) == (True, 2, 1.5)
    story.do(work.finish_purge, paths.take(unit))
    assert paths.checkpoints(trajectory)[1].folder is None


def test_weights_stay_if_any_run_asks_for_them(paths: Paths, story: Story) -> None:
    dataset = story.ready()
    first = paths.start(dataset)
    keeping = RunSpec.make(method="s2l", **OPTIONS, keep_weights=True)
    assert paths.start(dataset, keeping).trajectory_id == first.trajectory_id
    trajectory = paths.complete(paths.of(first))
    (training_files,) = paths.units(trajectory, "purge")
    assert training_files.subject.startswith("ftjob-")
    assert all(one.folder for one in paths.checkpoints(trajectory)[1:])


def test_training_is_told_as_the_trajectorys_own(paths: Paths, story: Story) -> None:
    _, trajectory, claim = paths.training()
    done = training.StepsDone(step=2, total_steps=6, trained_tokens=50, eta_s=9)
    step = ("fine_tune.step", "Step 2", {"step": 2, "loss": 1.0})
    story.do(training.record_steps, claim, [step], done)
    told = paths.get(trajectory).training
    assert told is not None
    assert (told.step, told.total_steps, told.trained_tokens) == (2, 6, 50)
    assert (told.status, told.hyperparameters) == ("running", {"learning_rate": 0.1})
    assert told.estimated_finish is not None
    (last,) = story.do(events.list_latest_events, owner=OWNER, subject=trajectory.id, limit=1).items
    assert (last.type, last.data) == ("trajectory.step", {"step": 2, "loss": 1.0})


def test_its_training_is_no_job_of_the_owner(paths: Paths, story: Story) -> None:
    _, trajectory, _ = paths.training()
    assert trajectory.training is not None
    job_id = trajectory.training.fine_tune_id
    assert story.do(fine_tunes.list_fine_tunes, owner=OWNER).items == ()
    assert story.do(fine_tunes.load_fine_tune, job_id).training_file.startswith("dataset:ds_")
    hidden: list[Callable[..., Any]] = [
        fine_tunes.get_fine_tune,
        fine_tunes.cancel_fine_tune,
        fine_tunes.pause_fine_tune,
        fine_tunes.resume_fine_tune,
        fine_tunes.list_checkpoints,
    ]
    for call in hidden:
        with pytest.raises(NotFound):
            story.do(call, owner=OWNER, fine_tune_id=job_id)
    with pytest.raises(NotFound):
        story.do(events.list_events, owner=OWNER, subject=job_id)


@pytest.mark.parametrize("kind", ["prepare", "train", "evaluate"])
def test_whatever_fails_fails_the_trajectory_and_the_runs_that_wait(
    paths: Paths, story: Story, kind: str
) -> None:
    dataset = story.ready()
    waiting = [paths.start(dataset, spec) for spec in (S2L, LP)]
    trajectory = paths.of(waiting[0])
    in_training = kind == "train"
    claim = paths.train(trajectory) if in_training else paths.take(paths.open(trajectory, kind)[0])
    wakeups = story.fail(claim, permanent=True)
    failed = paths.get(trajectory)
    assert (failed.status, failed.error) == ("failed", ERROR)
    assert failed.training is not None
    assert failed.training.status == "failed"
    assert [story.run(run).error for run in waiting] == [ERROR, ERROR]
    assert {story.run(run).status for run in waiting} == {"failed"}
    assert {story.take(one).kind for one in wakeups} == {"purge"}
    assert paths.open(trajectory, "evaluate") == []


def test_a_checkpoint_that_never_came_fails_the_trajectory(paths: Paths, story: Story) -> None:
    run, trajectory, claim = paths.training()
    paths.keep(claim, PLAN[2])
    paths.end_training(claim)
    failed = story.run(run).error
    assert failed is not None
    assert failed.code == "checkpoint_lost"
    assert "2 checkpoints of 3" in failed.message
    assert paths.get(trajectory).status == "failed"


def test_a_retry_is_told(paths: Paths, story: Story) -> None:
    _, trajectory, claim = paths.training()
    story.fail(paths.take(paths.open(trajectory, "evaluate")[0]))
    story.age(claim.work_id, 61)
    story.sweep()
    assert paths.types(trajectory).count("retry") == 2


def test_a_cancelled_run_leaves_the_trajectory_to_the_run_that_uses_it(
    paths: Paths, story: Story
) -> None:
    dataset = story.ready()
    first, second = paths.start(dataset, S2L), paths.start(dataset, LP)
    trajectory = paths.of(first)
    claim = paths.train(trajectory)
    paths.cancel(first)
    assert story.do(work.renew, claim, lease_s=60, rows_done=0) is False
    assert paths.get(trajectory).status == "training"
    wakeups = paths.cancel(second)
    assert story.do(work.renew, claim, lease_s=60, rows_done=0) is True
    now = paths.get(trajectory)
    assert now.training is not None
    assert (now.status, now.training.status) == ("cancelled", "cancelled")
    assert paths.open(trajectory, "evaluate") == []
    assert paths.keep(claim, PLAN[1]) == (False, [])
    assert {story.try_take(one) is not None for one in wakeups} == {True}


def test_a_deleted_run_lets_its_trajectory_go(paths: Paths, story: Story) -> None:
    run, trajectory = paths.begun()
    story.do(runs.delete_run, owner=OWNER, run_id=run.id)
    assert paths.get(trajectory).status == "cancelled"


def test_a_finished_trajectory_outlives_its_runs(paths: Paths, story: Story) -> None:
    run, trajectory = paths.begun()
    paths.complete(trajectory)
    story.do(runs.delete_run, owner=OWNER, run_id=run.id)
    assert paths.get(trajectory).status == "completed"


def test_cancelling_a_trajectory_cancels_the_runs_that_wait(paths: Paths, story: Story) -> None:
    run, trajectory, claim = paths.training()
    mine = {"owner": OWNER, "trajectory_id": trajectory.id}
    cancelled, wakeups = story.do(trajectories.cancel_trajectory, **mine)
    again, none = story.do(trajectories.cancel_trajectory, **mine)
    assert (cancelled, none) == (again, [])
    assert (cancelled.status, story.run(run).status) == ("cancelled", "cancelled")
    assert len(wakeups) == 2
    assert story.do(work.renew, claim, lease_s=60, rows_done=0) is True


def test_a_trajectory_that_is_over_is_not_cancelled(paths: Paths, story: Story) -> None:
    _, trajectory = paths.begun()
    paths.complete(trajectory)
    with pytest.raises(Conflict, match="already completed"):
        story.do(trajectories.cancel_trajectory, owner=OWNER, trajectory_id=trajectory.id)


def test_purge_of_a_cancelled_one_waits_for_its_workers_and_keeps_the_record(
    paths: Paths, story: Story
) -> None:
    run, trajectory, claim = paths.training()
    paths.keep(claim, PLAN[1])
    paths.cancel(run)
    assert story.do(purge.in_use, trajectory.id)
    story.do(work.release, claim)
    assert not story.do(purge.in_use, trajectory.id)
    (unit,) = [one for one in paths.units(trajectory, "purge") if one.subject == trajectory.id]
    story.do(work.finish_purge, paths.take(unit))
    assert paths.get(trajectory).status == "cancelled"
    assert [one.folder for one in paths.checkpoints(trajectory)] == [None, None]


@pytest.mark.parametrize("finished", [True, False])
def test_a_deleted_dataset_takes_its_trajectories_along(
    paths: Paths, story: Story, finished: bool
) -> None:
    run, trajectory = paths.begun()
    if finished:
        paths.complete(trajectory)
    assert trajectory.training is not None
    wakeups = story.do(datasets.delete_dataset, owner=OWNER, dataset_id=run.dataset_id)
    with pytest.raises(NotFound):
        story.do(trajectories.get_trajectory, owner=OWNER, trajectory_id=trajectory.id)
    assert story.do(purge.trajectory_ids_of, run.dataset_id) == [trajectory.id]
    assert story.do(purge.training_ids_of, run.dataset_id) == [trajectory.training.fine_tune_id]
    *others, last = [story.take(one) for one in wakeups]
    assert story.do(purge.in_use, run.dataset_id) is bool(others)
    for claim in others:
        story.do(work.finish_purge, claim)
    story.do(work.finish_purge, last)
    names = ("dataset", "run", "trajectory", "trajectory_checkpoint", "fine_tune", "score")
    tables = [metadata.tables[name] for name in (*names, "event", "selection")]
    for table in tables:
        assert story.do(lambda conn, t=table: conn.scalar(select(func.count()).select_from(t))) == 0


def test_a_purge_that_waits_goes_away_with_its_dataset(paths: Paths, story: Story) -> None:
    run, trajectory = paths.begun()
    *others, last = story.do(datasets.delete_dataset, owner=OWNER, dataset_id=run.dataset_id)
    assert len(others) == 2
    story.do(work.finish_purge, story.take(last))
    assert [story.try_take(one) for one in others] == [None, None]
    assert paths.units(trajectory, "purge") == []


def test_own_checkpoints_are_evaluated_without_training(paths: Paths, story: Story) -> None:
    spec = RunSpec.make(method="s2l", checkpoints="/mine")
    dataset, (ingest,) = story.post()
    run = paths.start(dataset, spec, checkpoints=_own(100, 200))
    story.ingest(story.take(ingest))
    trajectory = paths.of(run)
    assert (trajectory.status, trajectory.training, trajectory.num_checkpoints) == (
        *("evaluating", None),
        3,
    )
    kept = [(one.position, one.step, one.folder) for one in paths.checkpoints(trajectory)]
    assert kept == [(0, 0, None), (1, 100, "/mine/100"), (2, 200, "/mine/200")]
    paths.evaluate_all(trajectory)
    assert (paths.get(trajectory).status, story.run(run).status) == ("completed", "scoring")
    assert paths.units(trajectory, "purge") == []


def test_own_checkpoints_of_which_there_are_more_now_are_another_trajectory(
    paths: Paths, story: Story
) -> None:
    spec, dataset = RunSpec.make(method="s2l", checkpoints="/mine"), story.ready()
    used = [
        paths.start(dataset, spec, checkpoints=_own(*steps)).trajectory_id
        for steps in ((1, 2), (1, 2), (1, 2, 3))
    ]
    assert used[0] == used[1] != used[2]


def test_own_checkpoints_that_fail_stay_where_they_are(paths: Paths, story: Story) -> None:
    spec = RunSpec.make(method="s2l", checkpoints="/mine")
    run = paths.start(story.ready(), spec, checkpoints=_own(7))
    trajectory = paths.of(run)
    story.fail(paths.take(paths.open(trajectory, "evaluate")[0]), permanent=True)
    (unit,) = paths.units(trajectory, "purge")
    story.do(work.finish_purge, paths.take(unit))
    assert paths.checkpoints(trajectory)[1].folder == "/mine/7"


@pytest.mark.parametrize("steps", [(), (0, 3), (3, 3), (5, 4)])
def test_own_checkpoints_have_steps_of_their_own(
    paths: Paths, story: Story, steps: tuple[int, ...]
) -> None:
    spec, dataset = RunSpec.make(method="s2l", checkpoints="/mine"), story.ready()
    with pytest.raises(InvalidOption, match="step of its own"):
        paths.start(dataset, spec, checkpoints=_own(*steps))


def test_a_trajectory_is_bound_to_the_files_it_began_with(paths: Paths, story: Story) -> None:
    _, trajectory = paths.begun()
    for _ in range(2):
        story.do(evaluation.adopt_trajectory_revision, trajectory.id, "abc", 512)
    assert (paths.get(trajectory).revision, paths.get(trajectory).window) == ("abc", 512)
    with pytest.raises(RevisionMismatch, match="abc"):
        story.do(evaluation.adopt_trajectory_revision, trajectory.id, "xyz", 512)


def test_a_run_that_waits_says_for_which_worker(paths: Paths, story: Story) -> None:
    run, trajectory = paths.begun()
    mine = paths.get(trajectory).offer
    for queue in (QUEUE_IO, QUEUE_TRAIN):
        asked = story.do(runs.waits_for, story.run(run))
        assert asked is not None
        assert f"--queues {queue}" in asked
        _listen(story, queue)
        if queue == QUEUE_IO:
            assert "winnow-mini on torch" in (story.do(runs.waits_for, story.run(run)) or "")
            (prepare,) = paths.open(trajectory, "prepare")
            rows = {"rows": 8, "provenance": {}}
            story.do(training.finish_prepare, paths.take(prepare), **rows)
    assert "winnow-mini on torch" in (story.do(runs.waits_for, story.run(run)) or "")
    _listen(story, mine.queue)
    assert story.do(runs.waits_for, story.run(run)) is None
    paths.cancel(run)
    assert story.do(trajectories.waits_for, paths.get(trajectory)) is None


def test_lists_begin_with_the_newest_and_are_filtered(paths: Paths, story: Story) -> None:
    first, second = story.ready(), story.ready(sha256="b" * 64)
    made = [paths.of(paths.start(dataset)) for dataset in (first, second)]
    page = story.do(trajectories.list_trajectories, owner=OWNER, limit=1)
    assert ([one.id for one in page.items], page.has_more) == ([made[1].id], True)
    rest = story.do(trajectories.list_trajectories, owner=OWNER, after=made[1].id)
    assert [one.id for one in rest.items] == [made[0].id]
    of_first = story.do(trajectories.list_trajectories, owner=OWNER, dataset_id=first.id)
    assert [one.id for one in of_first.items] == [made[0].id]
    assert story.do(trajectories.list_trajectories, owner=OWNER, status="failed").items == ()


CALLS: dict[str, Callable[[Story, str, Trajectory], Any]] = {
    "get_trajectory": lambda s, o, t: s.do(
        trajectories.get_trajectory, owner=o, trajectory_id=t.id
    ),
    "list_trajectories": lambda s, o, t: s.do(trajectories.list_trajectories, owner=o, after=t.id),
    "list_trajectory_checkpoints": lambda s, o, t: s.do(
        trajectories.list_trajectory_checkpoints, owner=o, trajectory_id=t.id
    ),
    "list_events": lambda s, o, t: s.do(events.list_events, owner=o, subject=t.id),
    "cancel_trajectory": lambda s, o, t: s.do(
        trajectories.cancel_trajectory, owner=o, trajectory_id=t.id
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_trajectory_of_another_owner_does_not_exist(
    paths: Paths, story: Story, name: str
) -> None:
    _, trajectory = paths.begun()
    with pytest.raises(NotFound):
        CALLS[name](story, "bob", trajectory)
    CALLS[name](story, OWNER, trajectory)
    assert story.do(trajectories.list_trajectories, owner="bob").items == ()


def test_two_owners_share_nothing(paths: Paths, story: Story) -> None:
    mine = paths.start(story.ready())
    theirs = paths.start(story.ready(owner="bob"))
    assert mine.trajectory_id != theirs.trajectory_id


def _own(*steps: int) -> list[tuple[Checkpoint, str]]:
    return [
        (Checkpoint(position=position, step=step, epoch=None, point=True), f"/mine/{step}")
        for position, step in enumerate(steps, start=1)
    ]


def _listen(story: Story, queue: str) -> None:
    story.do(workers_registry.heartbeat, worker_id=queue, queues=[queue], offers=[])


def _num_units(story: Story, kinds: tuple[str, ...]) -> int:
    counted = select(func.count()).select_from(work_table).where(work_table.c.kind.in_(kinds))
    return story.do(lambda conn: conn.scalar(counted))
