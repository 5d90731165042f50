"""Datasets: the same bytes of one owner are one dataset, and a deleted one is gone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from tests.store.story import OWNER, Story
from winnow.errors import LeaseLost, NotFound
from winnow.messages import QUEUE_IO
from winnow.store import datasets, events, metrics, purge, runs, work
from winnow.store.tables import metadata
from winnow.store.values import ErrorInfo


def test_same_bytes_of_one_owner_are_one_dataset(story: Story) -> None:
    first, wakeups = story.post()
    second, none = story.post()
    assert (second, none) == (first, [])
    assert [wakeup.queue for wakeup in wakeups] == [QUEUE_IO]


def test_other_bytes_or_another_owner_are_another_dataset(story: Story) -> None:
    first, _ = story.post()
    for other, wakeups in (story.post("b" * 64), story.post(owner="bob")):
        assert other.id != first.id
        assert len(wakeups) == 1


def test_same_bytes_posted_at_once_are_one_dataset_and_one_ingest(story: Story) -> None:
    with ThreadPoolExecutor(8) as pool:
        posted = list(pool.map(lambda _: story.post(), range(8)))
    assert len({dataset.id for dataset, _ in posted}) == 1
    assert sum(len(wakeups) for _, wakeups in posted) == 1


def test_dataset_that_failed_by_its_bytes_stays_failed(story: Story) -> None:
    dataset, (wakeup,) = story.post()
    damaged = ErrorInfo(code="damaged_container", message="The gzip checksum at byte 7 is wrong.")
    story.do(work.fail_attempt, story.take(wakeup), damaged, permanent=True)
    again, wakeups = story.post()
    assert (again.id, again.status, again.error) == (dataset.id, "failed", damaged)
    assert wakeups == []


def test_dataset_that_failed_for_another_reason_is_read_again_when_posted_again(
    story: Story,
) -> None:
    dataset, (wakeup,) = story.post()
    story.fail(story.take(wakeup), permanent=True)
    again, (retry,) = story.post()
    assert (again.id, again.status, again.error) == (dataset.id, "ingesting", None)
    story.ingest(story.take(retry))
    assert story.do(datasets.get_dataset, owner=OWNER, dataset_id=dataset.id).status == "ready"


def test_ready_dataset_says_what_reading_found(story: Story) -> None:
    dataset = story.ready(num_blocks=2)
    counts = (dataset.rows_read, dataset.rows_usable, dataset.rows_rejected, dataset.num_blocks)
    assert counts == (2048, 2047, 1, 2)
    assert (dataset.status, dataset.format, dataset.requested_format) == ("ready", "jsonl", "auto")


def test_list_goes_from_the_newest_to_the_oldest_page_by_page(story: Story) -> None:
    made = [story.post(str(number) * 64)[0].id for number in range(5)]
    story.post("9" * 64, owner="bob")
    seen: list[str] = []
    has_more = True
    while has_more:
        page = story.do(
            datasets.list_datasets, owner=OWNER, after=seen[-1] if seen else None, limit=2
        )
        seen += [dataset.id for dataset in page.items]
        has_more = page.has_more
    assert seen == made[::-1]


def test_deleted_dataset_is_gone_at_once_and_its_runs_are_cancelled(story: Story) -> None:
    dataset = story.ready()
    run, _ = story.start(dataset)
    (wakeup,) = story.do(datasets.delete_dataset, owner=OWNER, dataset_id=dataset.id)
    assert story.take(wakeup).subject == dataset.id
    assert story.run(run).status == "cancelled"
    with pytest.raises(NotFound):
        story.do(datasets.get_dataset, owner=OWNER, dataset_id=dataset.id)
    with pytest.raises(NotFound):
        story.do(runs.get_run, owner=OWNER, run_id=run.id)
    with pytest.raises(NotFound):
        story.do(datasets.delete_dataset, owner=OWNER, dataset_id=dataset.id)
    assert story.do(datasets.list_datasets, owner=OWNER).items == ()


def test_bytes_of_a_deleted_dataset_may_be_posted_again(story: Story) -> None:
    dataset = story.ready()
    story.do(datasets.delete_dataset, owner=OWNER, dataset_id=dataset.id)
    again, wakeups = story.post()
    assert again.id != dataset.id
    assert len(wakeups) == 1


def test_purge_removes_every_row_of_a_dataset_and_nothing_else(story: Story) -> None:
    kept, kept_wakeups = story.start(story.ready(sha256="b" * 64))
    dataset = story.ready()
    run, wakeups = story.start(dataset)
    story.complete(run, wakeups)
    (wakeup,) = story.do(datasets.delete_dataset, owner=OWNER, dataset_id=dataset.id)
    claim = story.take(wakeup)
    assert story.do(purge.run_ids_of, dataset.id) == [run.id]
    story.do(work.finish_purge, claim)

    left = {
        table.name: story.do(lambda conn, t=table: conn.scalar(select(func.count()).select_from(t)))
        for table in metadata.sorted_tables
    }
    assert left["dataset"] == left["run"] == left["rejection"] == 1
    assert left["score"] == 0
    assert story.complete(kept, kept_wakeups).status == "completed"


def test_purge_waits_for_a_worker_that_is_about_to_close_a_unit(story: Story) -> None:
    run, (wakeup, _) = story.start(story.ready())
    claim = story.take(wakeup)
    (purging,) = story.do(runs.delete_run, owner=OWNER, run_id=run.id)
    purge_claim = story.take(purging)
    with ThreadPoolExecutor(1) as pool:
        with story.database.transaction() as conn:
            work.renew(conn, claim, lease_s=60, rows_done=1)
            removed = pool.submit(story.do, work.finish_purge, purge_claim)
            threading.Event().wait(0.2)
            events.add_event(conn, run.id, "note", "A step that takes the run after its unit.")
        removed.result()
    with pytest.raises(LeaseLost):
        story.score(claim)


def test_purge_of_a_run_leaves_its_dataset_and_the_other_runs(story: Story) -> None:
    dataset = story.ready()
    other, other_wakeups = story.start(dataset)
    run, wakeups = story.start(dataset)
    story.complete(run, wakeups)
    (wakeup,) = story.do(runs.delete_run, owner=OWNER, run_id=run.id)
    with pytest.raises(NotFound):
        story.do(runs.get_run, owner=OWNER, run_id=run.id)
    story.do(work.finish_purge, story.take(wakeup))
    assert story.do(purge.run_ids_of, dataset.id) == [other.id]
    assert story.complete(other, other_wakeups).status == "completed"


def test_deleting_a_run_twice_enqueues_one_purge(story: Story) -> None:
    run, _ = story.start(story.ready())
    story.do(runs.delete_run, owner=OWNER, run_id=run.id)
    with pytest.raises(NotFound):
        story.do(runs.delete_run, owner=OWNER, run_id=run.id)


def test_counts_for_metrics(story: Story) -> None:
    run, (wakeup, _) = story.start(story.ready(num_blocks=3))
    story.take(wakeup)
    assert story.do(metrics.count_runs) == {"scoring": 1}
    counted = {(one.kind, one.state): one.count for one in story.do(metrics.count_work)}
    assert counted == {("ingest", "done"): 1, ("score", "running"): 1, ("score", "queued"): 2}
    story.do(runs.delete_run, owner=OWNER, run_id=run.id)
    assert story.do(metrics.count_runs) == {}
