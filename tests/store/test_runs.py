"""Runs as their owner sees them: lists, the newest, cancelling, what they wait for; and what others see: nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.store.story import OWNER, SPEC, Story
from winnow.errors import Conflict, InvalidOption, NotFound
from winnow.messages import QUEUE_IO
from winnow.spec import RunSpec
from winnow.store import datasets, events, runs, scores, workers_registry


def test_run_keeps_what_was_asked_for(story: Story) -> None:
    spec = RunSpec.make(template="chat", max_length=512, seed=7)
    run, _ = story.start(story.ready(), spec=spec, name="with \x00 in it", revision="abc")
    kept = story.do(runs.get_run, owner=OWNER, run_id=run.id)
    assert kept.spec == spec
    assert (kept.name, kept.revision, kept.window) == ("with \\x00 in it", "abc", None)
    assert (kept.method, kept.engine, kept.model, kept.dtype) == (
        "ifd",
        "torch",
        "winnow-mini",
        "float32",
    )


def test_lists_go_from_the_newest_to_the_oldest_and_can_be_narrowed(story: Story) -> None:
    one, two = story.ready(), story.ready(sha256="b" * 64)
    first, second, third = (story.start(dataset)[0] for dataset in (one, two, one))
    story.do(runs.cancel_run, owner=OWNER, run_id=third.id)

    def ids(**options: Any) -> list[str]:
        return [run.id for run in story.do(runs.list_runs, owner=OWNER, **options).items]

    assert ids() == [third.id, second.id, first.id]
    assert ids(after=third.id, limit=1) == [second.id]
    assert ids(dataset_id=one.id) == [third.id, first.id]
    assert ids(status="cancelled") == [third.id]
    assert story.do(runs.list_runs, owner=OWNER, limit=2).has_more


def test_newest_run_skips_those_that_failed_or_were_cancelled(story: Story) -> None:
    dataset, other = story.ready(), story.ready(sha256="b" * 64)
    good, _ = story.start(dataset)
    elsewhere, _ = story.start(other)
    cancelled, _ = story.start(dataset)
    _, (wakeup, _) = story.start(dataset)
    story.do(runs.cancel_run, owner=OWNER, run_id=cancelled.id)
    story.fail(story.take(wakeup), permanent=True)
    assert story.do(runs.newest_run, owner=OWNER).id == elsewhere.id
    newest = story.do(runs.newest_run, owner=OWNER, dataset_id=dataset.id, method="ifd")
    assert newest.id == good.id
    story.do(runs.delete_run, owner=OWNER, run_id=good.id)
    with pytest.raises(NotFound, match="POST a dataset"):
        story.do(runs.newest_run, owner=OWNER, dataset_id=dataset.id)


def test_more_clusters_than_can_be_found_among_the_rows_are_refused(story: Story) -> None:
    """At once if the rows are counted, and before anything is scored otherwise."""
    spec = RunSpec.make(method="s2l", num_clusters=3000)
    posted, (ingest,) = story.post()
    run, _ = story.start(posted, spec=spec)
    story.ingest(story.take(ingest), num_blocks=1000)
    error = story.run(run).error
    assert error is not None
    assert (error.code, error.param) == ("invalid_option", "num_clusters")
    assert "at most 1953" in error.message
    dataset = story.do(datasets.get_dataset, owner=OWNER, dataset_id=posted.id)
    with pytest.raises(InvalidOption, match="1,024,000 rows"):
        story.start(dataset, spec=spec)
    assert story.start(dataset, spec=replace(spec, num_clusters=1953))[0].status == "training"


def test_a_request_that_names_no_run_never_means_a_sample(story: Story) -> None:
    dataset = story.ready()
    real, _ = story.start(dataset)
    sample, _ = story.start(dataset, is_sample=True)
    assert sample.is_sample
    assert story.do(runs.newest_run, owner=OWNER).id == real.id
    assert story.do(runs.newest_run, owner=OWNER, dataset_id=dataset.id).id == real.id
    listed = story.do(runs.list_runs, owner=OWNER).items
    assert [run.id for run in listed] == [sample.id, real.id]
    story.do(runs.delete_run, owner=OWNER, run_id=real.id)
    with pytest.raises(NotFound):
        story.do(runs.newest_run, owner=OWNER)


def test_cancelling_twice_changes_nothing(story: Story) -> None:
    run, _ = story.start(story.ready())
    once = story.do(runs.cancel_run, owner=OWNER, run_id=run.id)
    twice = story.do(runs.cancel_run, owner=OWNER, run_id=run.id)
    assert once == twice
    assert [event.type for event in story.events(run)][-1] == "run.cancelled"


def test_run_that_is_over_is_not_cancelled(story: Story) -> None:
    run, wakeups = story.start(story.ready())
    story.complete(run, wakeups)
    with pytest.raises(Conflict, match="already completed"):
        story.do(runs.cancel_run, owner=OWNER, run_id=run.id)


def test_run_on_a_failed_dataset_fails_with_the_same_reason(story: Story) -> None:
    dataset, (wakeup,) = story.post()
    story.fail(story.take(wakeup), permanent=True)
    run, wakeups = story.start(dataset)
    failed = story.do(datasets.get_dataset, owner=OWNER, dataset_id=dataset.id)
    assert (run.status, run.error, wakeups) == ("failed", failed.error, [])


def test_events_are_read_on_from_the_last_one_seen(story: Story) -> None:
    run, _ = story.start(story.ready())
    for number in range(3):
        story.do(events.add_event, run.id, "note", f"note {number}", {"number": number})
    seen = story.do(events.list_events, owner=OWNER, subject=run.id, after_seq=3, limit=1)
    assert [(event.seq, event.data) for event in seen] == [(4, {"number": 1})]


def test_run_says_what_it_waits_for(story: Story) -> None:
    dataset, (ingest,) = story.post()
    run, _ = story.start(dataset)
    asked = story.do(runs.waits_for, run)
    assert asked is not None
    assert "--queues io" in asked
    story.do(workers_registry.heartbeat, worker_id="w1", queues=[QUEUE_IO])
    assert story.do(runs.waits_for, run) is None

    story.ingest(story.take(ingest))
    scoring = story.run(run)
    asked = story.do(runs.waits_for, scoring)
    assert asked is not None
    assert "winnow-mini on torch in float32" in asked
    assert "--queues score --engine torch" in asked
    offer = scoring.offer
    story.do(workers_registry.heartbeat, worker_id="w2", queues=[offer.queue], offers=[offer])
    assert story.do(runs.waits_for, scoring) is None
    story.do(workers_registry.forget, worker_id="w2")
    assert story.do(runs.waits_for, scoring) is not None
    cancelled, _ = story.do(runs.cancel_run, owner=OWNER, run_id=run.id)
    assert story.do(runs.waits_for, cancelled) is None


def test_live_workers_say_what_they_take(story: Story) -> None:
    offer = story.start(story.ready())[0].offer
    for queues in ([QUEUE_IO], [offer.queue]):
        story.do(workers_registry.heartbeat, worker_id="w1", queues=queues, offers=[offer])
    (live,) = story.do(workers_registry.live_workers)
    assert (live.id, live.queues, live.offers) == ("w1", (offer.queue,), (offer,))
    assert story.do(workers_registry.live_workers, within_s=-1) == []


CALLS: dict[str, Callable[[Story, str, runs.Run], Any]] = {
    "get_dataset": lambda s, o, r: s.do(datasets.get_dataset, owner=o, dataset_id=r.dataset_id),
    "list_rejections": lambda s, o, r: s.do(
        datasets.list_rejections, owner=o, dataset_id=r.dataset_id
    ),
    "list_datasets": lambda s, o, r: s.do(datasets.list_datasets, owner=o, after=r.dataset_id),
    "create_run": lambda s, o, r: s.do(
        runs.create_run, owner=o, dataset_id=r.dataset_id, spec=SPEC, settings=s.settings
    ),
    "get_run": lambda s, o, r: s.do(runs.get_run, owner=o, run_id=r.id),
    "newest_run": lambda s, o, r: s.do(runs.newest_run, owner=o, dataset_id=r.dataset_id),
    "list_runs": lambda s, o, r: s.do(runs.list_runs, owner=o, after=r.id),
    "list_events": lambda s, o, r: s.do(events.list_events, owner=o, subject=r.id),
    "page_scores": lambda s, o, r: s.do(scores.page_scores, owner=o, run_id=r.id),
    "cancel_run": lambda s, o, r: s.do(runs.cancel_run, owner=o, run_id=r.id),
    "delete_run": lambda s, o, r: s.do(runs.delete_run, owner=o, run_id=r.id),
    "delete_dataset": lambda s, o, r: s.do(
        datasets.delete_dataset, owner=o, dataset_id=r.dataset_id
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_object_of_another_owner_does_not_exist(story: Story, name: str) -> None:
    run, _ = story.start(story.ready())
    with pytest.raises(NotFound):
        CALLS[name](story, "bob", run)
    CALLS[name](story, OWNER, run)


def test_lists_show_nothing_of_another_owner(story: Story) -> None:
    dataset = story.ready()
    story.start(dataset)
    assert story.do(datasets.list_datasets, owner="bob").items == ()
    assert story.do(runs.list_runs, owner="bob", dataset_id=dataset.id).items == ()
