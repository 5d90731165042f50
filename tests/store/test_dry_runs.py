"""A dry run: one unit, an estimate, and nothing left but a record for an hour."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.store.story import ERROR, OWNER, SPEC, Story
from winnow.errors import NotFound
from winnow.estimate import Estimate
from winnow.messages import Wakeup
from winnow.store import datasets, dry_runs, runs, work
from winnow.store.clock import clock, seconds
from winnow.store.datasets import Dataset
from winnow.store.runs import Run
from winnow.store.tables import dataset as dataset_table
from winnow.store.tables import metadata

ESTIMATE = Estimate(
    rows=2048,
    rows_sampled=2048,
    rows_scored=2047,
    rows_rejected=1,
    rows_truncated=3,
    rejected_by_reason={"malformed": 1},
    tokens_conditioned=500,
    tokens_direct=400,
    tokens_read=1500,
    rows_timed=64,
    seconds=2.5,
)


def post(story: Story, sha256: str = "a" * 64) -> tuple[Dataset, Run, Wakeup]:
    """A dataset that is sent along for a dry run, and read."""
    dataset, (reading,) = story.post(sha256, kept=False)
    run, _ = story.start(dataset, dry_run=True)
    (wakeup,) = story.ingest(story.take(reading))
    return dataset, run, wakeup


def finish(story: Story, wakeup: Wakeup) -> None:
    assert story.do(work.finish_estimate, story.take(wakeup), ESTIMATE) == []


def purge(story: Story) -> list[str]:
    """Sweep, and do the purges that follow; the subjects of these."""
    claims = [story.take(wakeup) for wakeup in story.sweep().wakeups]
    for claim in claims:
        assert claim.kind == "purge"
        story.do(work.finish_purge, claim)
    return [claim.subject for claim in claims]


def let_an_hour_pass(story: Story, *of: Run) -> None:
    for run in of:
        story.set_run(run, finished_at=clock() - seconds(3601))


def get_run(story: Story, run: Run) -> Run:
    return story.do(runs.get_run, owner=OWNER, run_id=run.id)


def count(story: Story, table: str) -> Any:
    statement = select(func.count()).select_from(metadata.tables[table])
    return story.do(lambda conn: conn.scalar(statement))


def test_a_dry_run_is_one_unit_on_the_queue_of_its_offer_and_ends_with_its_estimate(
    story: Story,
) -> None:
    run, (wakeup,) = story.start(story.ready(num_blocks=40), dry_run=True)
    assert wakeup.queue == run.offer.queue
    assert len(story.units(run, "estimate")) == 1
    finish(story, wakeup)
    done = story.run(run)
    assert (done.status, done.dry_run, done.estimate) == ("completed", True, ESTIMATE)
    assert [event.type for event in story.events(run)] == [
        "run.queued", "run.scoring", "run.completed",
    ]  # fmt: skip


def test_a_dry_run_is_never_the_newest_run(story: Story) -> None:
    dataset = story.ready()
    run, (wakeup,) = story.start(dataset, dry_run=True)
    finish(story, wakeup)
    with pytest.raises(NotFound):
        story.do(runs.newest_run, owner=OWNER)
    real, _ = story.start(dataset)
    assert story.do(runs.newest_run, owner=OWNER).id == real.id
    listed = story.do(runs.list_runs, owner=OWNER)
    assert {each.id for each in listed.items} == {run.id, real.id}


def test_what_was_sent_along_is_purged_and_the_record_outlives_it_for_an_hour(story: Story) -> None:
    dataset, run, wakeup = post(story)
    assert story.sweep().wakeups == []
    finish(story, wakeup)
    assert purge(story) == [dataset.id]
    with pytest.raises(NotFound):
        story.do(datasets.get_dataset, owner=OWNER, dataset_id=dataset.id)
    assert get_run(story, run).estimate == ESTIMATE
    assert count(story, "rejection") == 0
    assert purge(story) == []
    let_an_hour_pass(story, run)
    assert purge(story) == [run.id]
    assert [count(story, name) for name in ("run", "dataset", "event")] == [0, 0, 0]


@pytest.mark.parametrize("how", ["failed", "cancelled", "deleted"])
def test_what_was_sent_along_is_purged_however_the_dry_run_ends(story: Story, how: str) -> None:
    dataset, run, wakeup = post(story)
    if how == "failed":
        story.do(work.fail_attempt, story.take(wakeup), ERROR, permanent=True)
    elif how == "cancelled":
        story.do(runs.cancel_run, owner=OWNER, run_id=run.id)
    else:
        (deleting,) = story.do(runs.delete_run, owner=OWNER, run_id=run.id)
        story.do(work.finish_purge, story.take(deleting))
    assert purge(story) == [dataset.id]
    let_an_hour_pass(story, run)
    purge(story)
    assert [count(story, name) for name in ("run", "dataset")] == [0, 0]


def test_a_dataset_that_was_there_or_was_named_stays(story: Story) -> None:
    dataset = story.ready()
    again, _ = story.post(kept=False)
    assert again.id == dataset.id
    run, (wakeup,) = story.start(dataset, dry_run=True)
    finish(story, wakeup)
    assert purge(story) == []
    let_an_hour_pass(story, run)
    assert purge(story) == [run.id]
    assert story.do(datasets.get_dataset, owner=OWNER, dataset_id=dataset.id).status == "ready"


@pytest.mark.parametrize("how", ["posted", "scored"])
def test_a_dataset_that_is_asked_for_otherwise_meanwhile_stays(story: Story, how: str) -> None:
    dataset, _, wakeup = post(story)
    if how == "posted":
        assert story.post()[0].id == dataset.id
    else:
        story.start(dataset)
    finish(story, wakeup)
    assert dataset.id not in purge(story)
    assert story.do(datasets.get_dataset, owner=OWNER, dataset_id=dataset.id)


def test_two_dry_runs_share_what_was_sent_along_and_the_last_removes_it(story: Story) -> None:
    dataset, first, wakeup = post(story)
    second, (other,) = story.start(dataset, dry_run=True)
    finish(story, wakeup)
    assert purge(story) == []
    finish(story, other)
    assert purge(story) == [dataset.id]
    let_an_hour_pass(story, first)
    assert purge(story) == [first.id]
    assert (count(story, "dataset"), get_run(story, second).estimate) == (1, ESTIMATE)
    let_an_hour_pass(story, second)
    assert purge(story) == [second.id]
    assert count(story, "dataset") == 0


def test_the_same_bytes_are_another_dataset_once_they_were_removed(story: Story) -> None:
    dataset, _, wakeup = post(story)
    finish(story, wakeup)
    story.sweep()
    assert story.post()[0].id != dataset.id


def test_a_deleted_dataset_takes_its_dry_runs_along(story: Story) -> None:
    dataset, run, wakeup = post(story)
    finish(story, wakeup)
    (purging,) = story.do(datasets.delete_dataset, owner=OWNER, dataset_id=dataset.id)
    story.do(work.finish_purge, story.take(purging))
    with pytest.raises(NotFound):
        get_run(story, run)
    assert [count(story, name) for name in ("run", "dataset")] == [0, 0]


def test_a_dataset_is_not_dropped_while_a_dry_run_is_made_on_it(story: Story) -> None:
    dataset, run, wakeup = post(story)
    finish(story, wakeup)
    with story.database.transaction() as conn:
        runs.create_run(
            conn,
            owner=OWNER,
            dataset_id=dataset.id,
            spec=run.spec,
            dry_run=True,
            settings=story.settings,
        )
        assert story.sweep().counts["dropped"] == 0
    assert story.sweep().counts["dropped"] == 0
    kept = select(dataset_table.c.deleted_at).where(dataset_table.c.id == dataset.id)
    assert story.do(lambda conn: conn.scalar(kept)) is None


def test_a_record_that_is_purged_together_with_its_dataset_leaves_neither(story: Story) -> None:
    dataset, run, wakeup = post(story)
    finish(story, wakeup)
    (purging,) = story.sweep().wakeups
    of_dataset = story.take(purging)
    with ThreadPoolExecutor(1) as pool:
        with story.database.transaction() as conn:
            work.finish_purge(conn, of_dataset)
            let_an_hour_pass(story, run)
            (purging,) = story.sweep().wakeups
            removed = pool.submit(story.do, work.finish_purge, story.take(purging))
            threading.Event().wait(0.2)
        removed.result()
    assert dataset.id == of_dataset.subject
    assert [count(story, name) for name in ("run", "dataset")] == [0, 0]


def test_datasets_that_are_in_use_do_not_keep_the_others(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_runs, "_BATCH", 1)
    posted = sorted((post(story, sha256 * 64) for sha256 in "ab"), key=lambda made: made[0].id)
    over, _, wakeup = posted[-1]
    finish(story, wakeup)
    assert purge(story) == [over.id]


def test_a_dry_run_uses_no_cache_and_says_so(story: Story) -> None:
    dataset, spec = story.ready(), replace(SPEC, cache=True)
    dry, _ = story.start(dataset, spec=spec, dry_run=True)
    real, _ = story.start(dataset, spec=spec)
    assert (dry.spec.cache, dry.cache_snapshot) == (False, None)
    assert real.spec.cache
    assert real.cache_snapshot is not None


def test_a_sample_goes_a_month_after_its_end_and_its_dataset_with_the_last(story: Story) -> None:
    dataset, (reading,) = story.post(kept=False)
    first, _ = story.start(dataset, is_sample=True)
    second, _ = story.start(dataset, is_sample=True)
    story.ingest(story.take(reading))
    for run in (first, second):
        story.do(runs.cancel_run, owner=OWNER, run_id=run.id)
    let_an_hour_pass(story, first, second)
    assert purge(story) == []
    month = clock() - seconds(dry_runs.KEEP_SAMPLES_S + 1)
    story.set_run(first, finished_at=month)
    assert purge(story) == [first.id]
    assert purge(story) == []
    story.set_run(second, finished_at=month)
    assert purge(story) == [second.id]
    assert purge(story) == [dataset.id]
    assert [count(story, name) for name in ("run", "dataset")] == [0, 0]


def test_a_dataset_that_others_use_outlives_its_samples(story: Story) -> None:
    dataset = story.ready()
    sample, _ = story.start(dataset, is_sample=True)
    story.do(runs.cancel_run, owner=OWNER, run_id=sample.id)
    story.set_run(sample, finished_at=clock() - seconds(dry_runs.KEEP_SAMPLES_S + 1))
    assert purge(story) == [sample.id]
    assert purge(story) == []
    assert story.do(datasets.get_dataset, owner=OWNER, dataset_id=dataset.id).status == "ready"
