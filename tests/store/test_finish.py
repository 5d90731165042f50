"""Finishing: what a closed unit leaves behind, and how a run goes from one status to the next."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import cast

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from tests.store.story import OWNER, SPEC, Story, scores_of
from winnow.errors import RevisionMismatch
from winnow.messages import Wakeup
from winnow.records.example import RejectionReason
from winnow.store import datasets, runs, scores, units, work
from winnow.store.datasets import Dataset
from winnow.store.runs import Run
from winnow.store.tables import score
from winnow.store.work import Claim


def test_run_goes_through_every_status_and_says_so(story: Story) -> None:
    dataset, (ingest,) = story.post()
    run, none = story.start(dataset)
    assert (run.status, none) == ("queued", [])
    claim = story.take(ingest)
    assert story.run(run).status == "ingesting"
    wakeups = story.ingest(claim)
    assert story.run(run).status == "scoring"
    for wakeup in wakeups:
        finalise = story.score(story.take(wakeup))
    assert story.run(run).status == "finalizing"
    done = story.complete(run, finalise)
    assert (done.status, done.summary, done.warnings) == ("completed", {"n": 1}, ("w",))

    told = story.events(run)
    assert [event.type for event in told] == [
        "run.queued",
        "run.ingesting",
        "run.scoring",
        "run.finalizing",
        "run.completed",
    ]
    assert [event.seq for event in told] == [1, 2, 3, 4, 5]


def test_counts_of_a_completed_run_add_up(story: Story) -> None:
    run, wakeups = story.start(story.ready(num_blocks=3))
    done = story.complete(run, wakeups)
    assert (done.rows, done.blocks, done.blocks_done) == (3072, 3, 3)
    assert (done.rows_done, done.rows_scored, done.rows_rejected) == (3072, 3069, 3)
    assert done.started_at is not None
    assert done.finished_at is not None
    assert done.created_at <= done.started_at <= done.finished_at
    assert cast("float", done.scoring_s) > 0


def test_run_on_a_dataset_that_is_being_read_joins_it(story: Story) -> None:
    dataset, (ingest,) = story.post()
    claim = story.take(ingest)
    run, _ = story.start(dataset)
    assert run.status == "ingesting"
    assert len(story.ingest(claim)) == 2


@contextmanager
def run_being_made(story: Story, dataset: Dataset) -> Iterator[Run]:
    """A run whose transaction is still open; it is committed when the block ends."""
    with story.database.transaction() as conn:
        run, _ = runs.create_run(
            conn, owner=OWNER, dataset_id=dataset.id, spec=SPEC, settings=story.settings
        )
        yield run


def test_run_that_is_made_while_the_ingest_is_claimed_joins_it(story: Story) -> None:
    dataset, (ingest,) = story.post()
    with ThreadPoolExecutor(1) as pool:
        with run_being_made(story, dataset) as run:
            claiming = pool.submit(story.take, ingest)
            threading.Event().wait(0.2)
            assert not claiming.done()
        claiming.result()
    assert story.run(run).status == "ingesting"


def test_run_that_is_made_while_the_ingest_ends_is_not_forgotten(story: Story) -> None:
    dataset, (ingest,) = story.post()
    claim = story.take(ingest)
    with ThreadPoolExecutor(1) as pool:
        with run_being_made(story, dataset) as run:
            ending = pool.submit(story.ingest, claim)
            threading.Event().wait(0.2)
            assert not ending.done()
        assert len(ending.result()) == 2
    assert story.run(run).status == "scoring"


def test_dataset_without_a_usable_row_fails_its_runs(story: Story) -> None:
    dataset, (ingest,) = story.post()
    waiting, _ = story.start(dataset)
    story.ingest(story.take(ingest), num_usable=0)
    later, wakeups = story.start(dataset)
    for run in (story.run(waiting), later):
        assert run.status == "failed"
        assert run.error is not None
        assert run.error.code == "no_usable_rows"
    assert wakeups == []


def test_units_cover_all_blocks_and_the_last_may_be_shorter(story: Story) -> None:
    three = story.settings.model_copy(update={"blocks_per_unit": 3})
    run, _ = story.start(story.ready(num_blocks=8), settings=three)
    cut = [(unit.first_block, unit.num_blocks) for unit in story.units(run)]
    assert cut == [(0, 3), (3, 3), (6, 2)]


def test_window_is_published_and_each_finish_publishes_the_next(story: Story) -> None:
    run, wakeups = story.start(story.ready(num_blocks=5))
    ids = [unit.id for unit in story.units(run)]
    assert [wakeup.work_id for wakeup in wakeups] == ids[:2]
    first, second = (story.take(wakeup) for wakeup in wakeups)
    assert [wakeup.work_id for wakeup in story.score(second)] == [ids[2]]
    assert [wakeup.work_id for wakeup in story.score(first)] == [ids[3]]


def test_of_two_workers_that_finish_last_at_once_one_makes_the_finalise(story: Story) -> None:
    run, wakeups = story.start(story.ready())
    claims = [story.take(wakeup) for wakeup in wakeups]
    together = threading.Barrier(2)

    def finish(claim: Claim) -> list[Wakeup]:
        together.wait()
        return story.score(claim)

    with ThreadPoolExecutor(2) as pool:
        published = list(pool.map(finish, claims))
    (finalise,) = [wakeup for wakeups in published for wakeup in wakeups]
    assert [unit.id for unit in story.units(run, "finalise")] == [finalise.work_id]
    assert story.run(run).blocks_done == 2


def test_database_holds_at_most_one_finalise_of_a_run_and_one_unit_of_a_block(
    story: Story,
) -> None:
    run, _ = story.start(story.ready())
    again = {"kind": "finalise", "subject": run.id, "run_id": run.id}
    assert len(story.do(units.enqueue, **again)) == 1
    assert story.do(units.enqueue, **again) == []
    with pytest.raises(IntegrityError, match="uq_work_score_block"):
        story.do(units.add_scoring, run.id, queue="score.any")


def test_scores_of_a_unit_that_fails_to_finish_leave_no_trace(story: Story) -> None:
    run, (wakeup, _) = story.start(story.ready())
    claim = story.take(wakeup)
    with story.database.transaction() as conn:
        work.finish_score(conn, claim, scores_of(claim))
        conn.rollback()
    assert story.run(run).blocks_done == 0
    page = story.do(scores.page_scores, owner=OWNER, run_id=run.id)
    assert page.items == ()
    story.score(claim)
    assert story.run(run).blocks_done == 1


def test_row_is_scored_or_rejected_never_both_or_neither_or_nan(story: Story) -> None:
    run, _ = story.start(story.ready())
    for wrong in (
        {"score": None, "reason": None},
        {"score": 0.5, "reason": "malformed"},
        {"score": float("nan"), "reason": None},
    ):
        with pytest.raises(IntegrityError, match="ck_score_score"):
            story.do(
                lambda conn, row: conn.execute(row),
                insert(score).values(run_id=run.id, row=0, **wrong),
            )
    assert story.do(lambda conn: conn.scalar(select(score.c.row))) is None


def test_rejections_of_the_dataset_are_kept_as_postgres_can_hold_them(story: Story) -> None:
    dataset = story.ready()
    page = story.do(datasets.list_rejections, owner=OWNER, dataset_id=dataset.id)
    (rejection,) = page.items
    assert (rejection.row, rejection.reason) == (0, RejectionReason.MALFORMED)
    assert rejection.detail == "line 1: \\x00 \\ud800"
    assert not page.has_more


def test_first_worker_binds_the_run_to_its_model_files_and_others_must_have_the_same(
    story: Story,
) -> None:
    run, _ = story.start(story.ready())
    for _ in range(2):
        story.do(runs.adopt_revision, run.id, "abc", 1024)
    bound = story.run(run)
    assert (bound.revision, bound.window) == ("abc", 1024)
    with pytest.raises(RevisionMismatch, match=r"revision abc; this worker has xyz"):
        story.do(runs.adopt_revision, run.id, "xyz", 1024)
    assert story.run(run).revision == "abc"


def test_revision_known_to_the_gateway_binds_the_first_worker_too(story: Story) -> None:
    run, _ = story.start(story.ready(), revision="abc")
    with pytest.raises(RevisionMismatch):
        story.do(runs.adopt_revision, run.id, "xyz", 1024)
    story.do(runs.adopt_revision, run.id, "abc", 1024)
    assert story.run(run).window == 1024
