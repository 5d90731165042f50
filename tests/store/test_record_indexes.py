"""The index of a dataset is asked for as often as anybody likes, made once, and harms nothing if it fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.store.story import ERROR, OWNER, Story
from winnow.errors import NotFound
from winnow.messages import QUEUE_IO, Wakeup
from winnow.store import record_indexes, work
from winnow.store.datasets import Dataset, get_dataset


def ask(story: Story, data: Dataset) -> list[Wakeup]:
    wakeups: list[Wakeup] = story.do(record_indexes.request_index, owner=OWNER, dataset_id=data.id)
    return wakeups


def test_an_index_is_made_once_at_a_time(story: Story) -> None:
    data = story.ready()
    with ThreadPoolExecutor(4) as pool:
        (wakeup,) = [one for all_ in pool.map(lambda _: ask(story, data), range(4)) for one in all_]
    claim = story.take(wakeup)
    assert (claim.kind, claim.subject, wakeup.queue) == ("index", data.id, QUEUE_IO)
    assert ask(story, data) == []
    story.do(record_indexes.finish_index, claim)
    assert len(ask(story, data)) == 1


def test_an_index_that_fails_leaves_its_dataset_as_it_was(story: Story) -> None:
    data = story.ready()
    claim = story.take(ask(story, data)[0])
    assert story.do(work.fail_attempt, claim, ERROR, permanent=True) == []
    assert story.do(get_dataset, owner=OWNER, dataset_id=data.id).status == "ready"
    assert len(ask(story, data)) == 1


def test_nobody_has_the_dataset_of_another_owner_indexed(story: Story) -> None:
    data = story.ready()
    with pytest.raises(NotFound):
        story.do(record_indexes.request_index, owner="bob", dataset_id=data.id)
