"""Files: whose they are, in which order they are listed, and what deleting one leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.store.jobs import Jobs
from tests.store.story import OWNER, Story
from winnow.errors import NotFound
from winnow.store import files, work


@pytest.fixture
def jobs(story: Story) -> Jobs:
    return Jobs(story=story)


def test_a_file_is_there_as_it_was_made(jobs: Jobs) -> None:
    made = jobs.upload(filename="a\x00b.jsonl")
    found = jobs.story.do(files.get_file, owner=OWNER, file_id=made.id)
    assert found == made
    assert made.id.startswith("file-")
    assert (made.filename, made.blob) == ("a\\x00b.jsonl", f"files/{made.id}/content")


@pytest.mark.parametrize("oldest_first", [False, True])
def test_files_are_listed_page_by_page_in_both_directions(jobs: Jobs, oldest_first: bool) -> None:
    made = [jobs.upload().id for _ in range(5)]
    listed: list[str] = []
    after = None
    for expected_more in (True, True, False):
        page = jobs.story.do(
            files.list_files, owner=OWNER, after=after, limit=2, oldest_first=oldest_first
        )
        listed += [file.id for file in page.items]
        after = listed[-1]
        assert page.has_more is expected_more
    assert listed == (made if oldest_first else made[::-1])


def test_a_list_may_be_of_one_purpose(jobs: Jobs) -> None:
    jobs.upload()
    _, claim = jobs.running()
    jobs.succeed(claim)
    page = jobs.story.do(files.list_files, owner=OWNER, purpose="fine-tune-results")
    assert {file.filename for file in page.items} == {"all.zip", "model.safetensors"}


def test_a_deleted_file_is_hidden_at_once_and_its_row_goes_with_its_bytes(jobs: Jobs) -> None:
    story, made = jobs.story, jobs.upload()
    (wakeup,) = story.do(files.delete_file, owner=OWNER, file_id=made.id)
    with pytest.raises(NotFound):
        story.do(files.get_file, owner=OWNER, file_id=made.id)
    assert story.do(files.list_files, owner=OWNER).items == ()
    claim = story.take(wakeup)
    assert story.do(files.blob_of, made.id) == made.blob
    story.do(work.finish_purge, claim)
    assert story.do(files.blob_of, made.id) is None


CALLS: dict[str, Callable[..., Any]] = {
    "get_file": lambda story, owner, file: story.do(files.get_file, owner=owner, file_id=file.id),
    "list_files": lambda story, owner, file: story.do(files.list_files, owner=owner, after=file.id),
    "delete_file": lambda story, owner, file: story.do(
        files.delete_file, owner=owner, file_id=file.id
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_file_of_another_owner_does_not_exist(jobs: Jobs, name: str) -> None:
    made = jobs.upload()
    with pytest.raises(NotFound):
        CALLS[name](jobs.story, "bob", made)
    CALLS[name](jobs.story, OWNER, made)
