"""Fine-tunes: their status, whose they are, and that of all who train one only one is heard."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.store.jobs import Jobs
from tests.store.story import ERROR, OWNER, Story
from winnow.errors import Conflict, LeaseLost, NotFound
from winnow.messages import QUEUE_IO, QUEUE_TRAIN
from winnow.store import events, files, fine_tunes, training, work, workers_registry
from winnow.store.fine_tunes import FineTune
from winnow.store.tables import work as work_table
from winnow.store.training import Told
from winnow.store.values import ErrorInfo
from winnow.store.work import Claim
from winnow.training.names import base_model, fine_tuned_name

LEASE_S = 0.5
"""Long enough for an undisturbed attempt, short enough to wait until it has run out."""


@pytest.fixture
def jobs(story: Story) -> Jobs:
    return Jobs(story=story)


def states(jobs: Jobs, job: FineTune) -> list[tuple[str, str]]:
    """Kind and state of every unit of a job, in the order in which they were made."""
    mine = select(work_table.c.kind, work_table.c.state).where(work_table.c.subject == job.id)
    with jobs.story.database.transaction() as conn:
        return [(row.kind, row.state) for row in conn.execute(mine.order_by(work_table.c.id))]


def types(jobs: Jobs, job: FineTune) -> list[str]:
    return [event.type.removeprefix("fine_tune.") for event in jobs.events(job)]


def test_a_job_goes_from_its_files_to_its_model(jobs: Jobs) -> None:
    job, (prepare,) = jobs.create(metadata={"team": "a"})
    assert (job.status, job.metadata, prepare.queue) == (
        "validating_files",
        {"team": "a"},
        QUEUE_IO,
    )
    (train,) = jobs.prepare(jobs.story.take(prepare))
    assert (jobs.get(job).status, jobs.get(job).rows, train.queue) == ("queued", 8, QUEUE_TRAIN)
    claim = jobs.story.take(train)
    assert jobs.get(job).status == "running"
    jobs.step(claim, 4)
    now = jobs.get(job)
    assert (now.step, now.total_steps, now.trained_tokens) == (4, 10, 400)
    assert now.estimated_finish is not None
    assert now.started_at is not None
    (purge,) = jobs.succeed(claim)
    done = jobs.get(job)
    assert (done.status, done.trained_tokens, done.step, done.active) == (
        "succeeded",
        1000,
        10,
        False,
    )
    assert (done.fine_tuned_model, done.estimated_finish) == (f"ft:winnow-mini:{job.id}", None)
    stored = [
        jobs.story.do(files.get_file, owner=OWNER, file_id=file_id) for file_id in done.result_files
    ]
    assert [file.filename for file in stored] == ["all.zip", "model.safetensors"]
    assert types(jobs, job) == ["validating_files", "queued", "running", "step", "succeeded"]
    assert [event.seq for event in jobs.events(job)] == [1, 2, 3, 4, 5]
    assert jobs.story.take(purge).kind == "purge"


def test_a_model_is_named_after_its_base_and_leads_back_to_it() -> None:
    name = fine_tuned_name(base="winnow-mini", suffix="Tidy up: 1", job_id="ftjob-abcdefghijklmnop")
    assert name == "ft:winnow-mini:Tidy-up-1:efghijklmnop"
    again = fine_tuned_name(base=name, suffix=None, job_id="ftjob-123456789012")
    assert again == "ft:ft:winnow-mini:Tidy-up-1:efghijklmnop::123456789012"
    assert base_model(again) == base_model(name) == base_model("winnow-mini") == "winnow-mini"


def test_a_model_is_found_by_its_owner_alone(jobs: Jobs) -> None:
    job, claim = jobs.running()
    jobs.succeed(claim)
    name = f"ft:winnow-mini:{job.id}"
    assert jobs.story.do(fine_tunes.find_model, owner=OWNER, name=name).id == job.id
    assert jobs.story.do(fine_tunes.load_model, name).id == job.id
    assert [made.id for made in jobs.story.do(fine_tunes.list_models, owner=OWNER)] == [job.id]
    assert jobs.story.do(fine_tunes.list_models, owner="bob") == []
    with pytest.raises(NotFound, match="no fine-tuned model"):
        jobs.story.do(fine_tunes.find_model, owner="bob", name=name)


def test_a_file_that_cannot_be_read_fails_the_job_and_names_it(jobs: Jobs) -> None:
    job, (prepare,) = jobs.create()
    error = ErrorInfo(code="unknown_format", message="No.", param="training_file")
    jobs.story.do(work.fail_attempt, jobs.story.take(prepare), error, permanent=True)
    failed = jobs.get(job)
    assert (failed.status, failed.error) == ("failed", error)
    assert failed.finished_at is not None


@pytest.mark.parametrize("param", ["training_file", "validation_file"])
def test_a_job_names_files_of_its_owner_only(jobs: Jobs, param: str) -> None:
    theirs = jobs.upload(owner="bob").id
    with pytest.raises(NotFound, match=theirs) as caught:
        jobs.create(**{param: theirs})
    assert caught.value.param == param


def test_a_pause_before_training_is_taken_back_where_it_was(jobs: Jobs) -> None:
    job, (prepare,) = jobs.create()
    jobs.pause(job)
    assert jobs.try_take(prepare.work_id) is None
    resumed, (again,) = jobs.resume(job)
    assert resumed.status == "validating_files"
    (train,) = jobs.prepare(jobs.story.take(again))
    jobs.pause(job)
    assert jobs.try_take(train.work_id) is None
    resumed, (anew,) = jobs.resume(job)
    assert (resumed.status, anew.queue) == ("queued", QUEUE_TRAIN)
    assert states(jobs, job) == [
        *[("prepare", "cancelled"), ("prepare", "done")],
        *[("train", "cancelled"), ("train", "queued")],
    ]


def test_a_pause_while_the_files_are_read_is_kept_and_they_are_not_read_again(jobs: Jobs) -> None:
    job, (prepare,) = jobs.create()
    claim = jobs.story.take(prepare)
    jobs.pause(job)
    assert jobs.prepare(claim) == []
    assert (jobs.get(job).status, jobs.get(job).rows) == ("paused", 8)
    resumed, (train,) = jobs.resume(job)
    assert (resumed.status, train.queue) == ("queued", QUEUE_TRAIN)


def test_a_paused_job_saves_leaves_its_worker_and_goes_on_with_fresh_attempts(jobs: Jobs) -> None:
    job, claim = jobs.running()
    assert jobs.story.do(work.renew, claim, lease_s=60, rows_done=0) is False
    assert jobs.pause(job).status == "paused"
    assert jobs.story.do(work.renew, claim, lease_s=60, rows_done=0) is True
    jobs.checkpoint(claim, 3)
    jobs.story.do(work.release, claim)
    assert jobs.try_take(claim.work_id) is None
    jobs.story.sweep()
    assert states(jobs, job)[-1] == ("train", "cancelled")
    _, (wakeup,) = jobs.resume(job)
    again = jobs.story.take(wakeup)
    assert (again.attempt, jobs.get(job).status) == (1, "running")
    (kept,) = jobs.story.do(training.kept_checkpoints, job.id)
    assert kept.step == 3


def test_a_worker_that_hears_of_neither_pause_nor_resume_keeps_the_job(jobs: Jobs) -> None:
    job, claim = jobs.running()
    jobs.pause(job)
    assert jobs.resume(job) == (jobs.get(job), [])
    assert jobs.get(job).status == "queued"
    jobs.step(claim, 1)
    assert jobs.get(job).status == "running"
    jobs.succeed(claim)
    assert jobs.get(job).status == "succeeded"
    assert [kind for kind, _ in states(jobs, job)].count("train") == 1


def test_a_result_that_comes_after_a_pause_and_a_resume_counts(jobs: Jobs) -> None:
    job, claim = jobs.running()
    jobs.pause(job)
    jobs.resume(job)
    jobs.succeed(claim)
    assert jobs.get(job).status == "succeeded"
    assert types(jobs, job)[-2:] == ["running", "succeeded"]


def test_a_result_that_comes_after_a_pause_is_made_again(jobs: Jobs) -> None:
    job, claim = jobs.running()
    jobs.pause(job)
    assert jobs.succeed(claim) == []
    assert jobs.get(job).result_files == ()
    _, (wakeup,) = jobs.resume(job)
    jobs.succeed(jobs.story.take(wakeup))
    assert len(jobs.get(job).result_files) == 2


@pytest.mark.parametrize("stage", ["validating", "queued", "running", "paused"])
def test_a_job_can_be_cancelled_at_every_stage(jobs: Jobs, stage: str) -> None:
    claim = None
    if stage == "validating":
        job, (wakeup,) = jobs.create()
    elif stage == "queued":
        job, wakeup = jobs.queued()
    else:
        job, claim = jobs.running()
    if stage == "paused":
        jobs.pause(job)
    assert jobs.cancel(job).status == "cancelled"
    assert jobs.cancel(job).status == "cancelled"
    if claim is None:
        assert jobs.try_take(wakeup.work_id) is None
    else:
        assert jobs.story.do(work.renew, claim, lease_s=60, rows_done=0) is True
        jobs.step(claim, 7)
        assert jobs.succeed(claim) == []
    assert types(jobs, job)[-1] == "cancelled"
    assert (jobs.get(job).step, jobs.get(job).result_files) == (0, ())
    assert states(jobs, job)[-1] == ("purge", "queued")


@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
def test_a_job_that_is_over_is_left_alone(jobs: Jobs, action: str) -> None:
    job, claim = jobs.running()
    jobs.succeed(claim)
    with pytest.raises(Conflict, match="succeeded"):
        getattr(jobs, action)(job)
    assert types(jobs, job)[-1] == "succeeded"


def test_resuming_what_is_not_paused_changes_nothing(jobs: Jobs) -> None:
    job, _ = jobs.running()
    before = types(jobs, job)
    resumed, wakeups = jobs.resume(job)
    assert (resumed.status, wakeups, types(jobs, job)) == ("running", [], before)


def test_two_checkpoints_are_kept_and_all_are_listed(jobs: Jobs) -> None:
    job, claim = jobs.running()
    removed = [jobs.checkpoint(claim, step) for step in (2, 4, 6)]
    assert removed == [[], [], ["checkpoints/2"]]
    page = jobs.story.do(fine_tunes.list_checkpoints, owner=OWNER, fine_tune_id=job.id, limit=2)
    assert [one.step for one in page.items] == [6, 4]
    assert page.has_more
    rest = jobs.story.do(
        fine_tunes.list_checkpoints, owner=OWNER, fine_tune_id=job.id, after=page.items[-1].id
    )
    assert [(one.step, one.metrics) for one in rest.items] == [(2, {"train_loss": 1.5})]


def test_a_checkpoint_that_is_saved_again_stands_once(jobs: Jobs) -> None:
    job, claim = jobs.running()
    jobs.checkpoint(claim, 2)
    assert jobs.checkpoint(claim, 2, folder="checkpoints/other") == ["checkpoints/other"]
    (kept,) = jobs.story.do(training.kept_checkpoints, job.id)
    assert kept.folder == "checkpoints/2"
    assert types(jobs, job).count("checkpoint") == 1


def test_a_checkpoint_whose_files_are_gone_can_be_saved_anew(jobs: Jobs) -> None:
    job, claim = jobs.running()
    jobs.checkpoint(claim, 2)
    jobs.checkpoint(claim, 4)
    newest, older = jobs.story.do(training.kept_checkpoints, job.id)
    jobs.story.do(training.forget_checkpoint, claim, newest)
    assert jobs.story.do(training.kept_checkpoints, job.id) == [older]
    assert jobs.checkpoint(claim, 4, folder="checkpoints/anew") == []
    assert jobs.story.do(training.kept_checkpoints, job.id)[0].folder == "checkpoints/anew"


def test_what_has_been_told_is_known_to_the_next_attempt(jobs: Jobs) -> None:
    job, claim = jobs.running()
    assert jobs.story.do(training.told_so_far, job.id) == Told(step=0, evaluated=0)
    jobs.step(claim, 3)
    jobs.step(claim, 11)
    jobs.checkpoint(claim, 20)
    assert jobs.story.do(training.told_so_far, job.id) == Told(step=11, evaluated=0)


def test_a_worker_whose_lease_was_taken_over_writes_nothing_more(jobs: Jobs) -> None:
    job, old = jobs.running()
    jobs.step(old, 1)
    jobs.story.age(old.work_id, 61)
    new = jobs.try_take(old.work_id, worker="w2")
    assert new is not None
    before = jobs.events(job)
    for write in (
        lambda: jobs.step(old, 2),
        lambda: jobs.checkpoint(old, 2),
        lambda: jobs.succeed(old),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert jobs.events(job) == before
    jobs.step(new, 2)
    assert jobs.get(job).step == 2


def test_attempts_count_from_the_newest_checkpoint(jobs: Jobs) -> None:
    job, claim = jobs.running()
    for step in range(1, 6):  # more than the three attempts that a unit has
        jobs.checkpoint(claim, step)
        jobs.story.fail(claim)
        jobs.story.age(claim.work_id, 100)
        (wakeup,) = jobs.story.sweep().wakeups
        claim = jobs.story.take(wakeup)
    assert jobs.get(job).status == "running"
    for _ in range(2):
        jobs.story.fail(claim)
        jobs.story.age(claim.work_id, 100)
        taken = jobs.try_take(claim.work_id)
        if taken is not None:
            claim = taken
    failed = jobs.get(job)
    assert (failed.status, failed.error) == ("failed", ERROR)


def test_a_worker_that_goes_silent_is_an_event_and_the_job_goes_on(jobs: Jobs) -> None:
    job, claim = jobs.running()
    jobs.story.age(claim.work_id, 61)
    (wakeup,) = jobs.story.sweep().wakeups
    assert (wakeup.work_id, jobs.get(job).status) == (claim.work_id, "running")
    assert types(jobs, job)[-1] == "retry"
    assert jobs.story.take(wakeup).attempt == 2


@pytest.mark.parametrize(
    ("rows", "queue"), [(None, QUEUE_IO), (8, QUEUE_TRAIN)], ids=["files unread", "files read"]
)
def test_a_job_without_a_unit_gets_one(jobs: Jobs, rows: int | None, queue: str) -> None:
    job = jobs.create()[0] if rows is None else jobs.queued()[0]
    of_it = work_table.c.fine_tune_id == job.id
    jobs.story.do(lambda conn: conn.execute(update(work_table).where(of_it).values(state="done")))
    swept = jobs.story.sweep()
    assert ([one.queue for one in swept.wakeups], swept.counts["restarted"]) == ([queue], 1)
    assert jobs.story.sweep().wakeups == []


def test_a_job_out_of_attempts_fails_and_says_so(jobs: Jobs) -> None:
    job, claim = jobs.running()
    for _ in range(3):
        jobs.story.age(claim.work_id, 61)
        swept = jobs.story.sweep()
        jobs.try_take(claim.work_id)
    (purge,) = swept.wakeups
    assert jobs.story.take(purge).kind == "purge"
    error = jobs.get(job).error
    assert error is not None
    assert (jobs.get(job).status, error.code) == ("failed", "worker_lost")
    assert "train work was tried 3 times" in error.message


def test_a_job_says_what_it_waits_for(jobs: Jobs) -> None:
    job, (prepare,) = jobs.create()
    waits = lambda: jobs.story.do(fine_tunes.waits_for, jobs.get(job))  # noqa: E731
    assert "--queues io" in waits()
    jobs.prepare(jobs.story.take(prepare))
    assert "--queues train" in waits()
    jobs.story.do(workers_registry.heartbeat, worker_id="t", queues=[QUEUE_TRAIN])
    assert waits() is None


def test_jobs_are_listed_newest_first_and_by_their_metadata(jobs: Jobs) -> None:
    made = [jobs.create(metadata={"number": str(number % 2)})[0] for number in range(4)]
    page = jobs.story.do(fine_tunes.list_fine_tunes, owner=OWNER, limit=3)
    assert [job.id for job in page.items] == [job.id for job in made[:0:-1]]
    assert page.has_more
    odd = jobs.story.do(fine_tunes.list_fine_tunes, owner=OWNER, metadata={"number": "1"})
    assert [job.id for job in odd.items] == [made[3].id, made[1].id]


CALLS: dict[str, Callable[[Jobs, str, FineTune], Any]] = {
    name: lambda jobs, owner, job, call=call: jobs.story.do(call, owner=owner, fine_tune_id=job.id)
    for name, call in {
        "get": fine_tunes.get_fine_tune,
        "checkpoints": fine_tunes.list_checkpoints,
        "pause": fine_tunes.pause_fine_tune,
        "resume": fine_tunes.resume_fine_tune,
        "cancel": fine_tunes.cancel_fine_tune,
    }.items()
}
CALLS["list"] = lambda jobs, owner, job: jobs.story.do(
    fine_tunes.list_fine_tunes, owner=owner, after=job.id
)
CALLS["events"] = lambda jobs, owner, job: jobs.story.do(
    events.list_events, owner=owner, subject=job.id
)


@pytest.mark.parametrize("name", CALLS)
def test_a_job_of_another_owner_does_not_exist(jobs: Jobs, name: str) -> None:
    job, _ = jobs.create()
    with pytest.raises(NotFound):
        CALLS[name](jobs, "bob", job)
    CALLS[name](jobs, OWNER, job)
    assert jobs.story.do(fine_tunes.list_fine_tunes, owner="bob").items == ()


def test_of_many_workers_that_lose_fail_pause_and_train_a_job_one_result_comes(
    story: Story,
) -> None:
    patient = story.settings.model_copy(update={"max_attempts": 1000})
    jobs = Jobs(story=Story(database=story.database, settings=patient))
    made = [jobs.create()[0] for _ in range(3)]
    over = threading.Event()
    with ThreadPoolExecutor(6) as pool:
        crowd = [pool.submit(_train_anything, jobs, number, over) for number in range(4)]
        crowd.append(pool.submit(_sweep, jobs, over))
        crowd.append(pool.submit(_pause_and_resume, jobs, made, over))
        try:
            while any(jobs.get(job).active for job in made):
                assert not any(one.done() and one.exception() for one in crowd)
                over.wait(0.05)
        finally:
            over.set()
        for one in crowd:
            one.result()
    for job in made:
        assert jobs.get(job).status == "succeeded"
        assert types(jobs, job).count("succeeded") == 1
        seqs = [event.seq for event in jobs.events(job)]
        assert seqs == list(range(1, len(seqs) + 1))
    page = jobs.story.do(files.list_files, owner=OWNER, purpose="fine-tune-results")
    assert len(page.items) == 2 * len(made)


def _train_anything(jobs: Jobs, number: int, over: threading.Event) -> None:
    chance = random.Random(number)  # noqa: S311
    open_ = select(work_table.c.id).where(work_table.c.state.in_(("queued", "running")))
    while not over.is_set():
        with jobs.story.database.transaction() as conn:
            ids = list(conn.scalars(open_))
        for work_id in ids:
            claim = jobs.try_take(work_id, worker=f"w{number}", lease_s=LEASE_S)
            if claim is not None:
                _do(jobs, claim, chance, over)


def _do(jobs: Jobs, claim: Claim, chance: random.Random, over: threading.Event) -> None:
    try:
        if claim.kind == "purge":
            jobs.story.do(work.finish_purge, claim)
        elif claim.kind == "prepare":
            jobs.prepare(claim)
        else:
            for step in range(1, 4):
                jobs.step(claim, step)
                jobs.checkpoint(claim, step)
                # As the worker's own thread does: on a busy machine six transactions take longer than a lease.
                jobs.story.do(work.renew, claim, lease_s=LEASE_S, rows_done=0)
                over.wait(LEASE_S * chance.choice([0, 0, 0, 0.1, 1.2]))
            match chance.randrange(4):
                case 0:
                    jobs.story.fail(claim)
                    jobs.story.age(claim.work_id, 100)
                case 1:
                    jobs.story.do(work.release, claim)
                case _:
                    jobs.succeed(claim)
    except LeaseLost:
        pass


def _sweep(jobs: Jobs, over: threading.Event) -> None:
    # A sweep is some twenty transactions: without a pause it takes the processor from those that it heals.
    while not over.wait(0.1):
        jobs.story.sweep()


def _pause_and_resume(jobs: Jobs, made: list[FineTune], over: threading.Event) -> None:
    chance = random.Random(7)  # noqa: S311
    for _ in range(20):
        over.wait(0.05)
        job = chance.choice(made)
        try:
            jobs.pause(job)
            over.wait(0.02)
            jobs.resume(job)
        except Conflict:  # it is over
            continue
