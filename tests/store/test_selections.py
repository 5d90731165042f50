"""Selections that take work: made once for equal requests, and a failed one harms nothing but itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import delete, update

from tests.store.story import ERROR, OWNER, Story
from winnow.errors import LeaseLost, NotFound, SelectionNotReady
from winnow.messages import QUEUE_IO, Wakeup
from winnow.store import runs, selections
from winnow.store.clock import seconds
from winnow.store.runs import Run
from winnow.store.selections import KEPT_PER_RUN, MOST_WAITING, TRY_AGAIN_S, HeavySelection
from winnow.store.tables import selection, work
from winnow.store.work import finish_purge

KEY = "3b1f"
REQUEST = {"strategy": "facility_location", "count": 3}


@pytest.fixture
def run(story: Story) -> Run:
    """A completed run."""
    begun, wakeups = story.start(story.ready())
    return story.complete(begun, wakeups)


def ask(story: Story, run: Run, *, key: str = KEY) -> tuple[HeavySelection, list[Wakeup]]:
    mine = {"owner": OWNER, "run_id": run.id}
    return story.do(selections.request_selection, **mine, key=key, request=REQUEST)


def test_a_selection_is_made_once_and_read_again(story: Story, run: Run) -> None:
    asked, (wakeup,) = ask(story, run)
    assert (asked.status, asked.request, wakeup.queue) == ("queued", REQUEST, QUEUE_IO)
    assert ask(story, run) == (asked, [])
    claim = story.take(wakeup)
    assert (claim.kind, claim.run_id, claim.subject) == ("select", run.id, KEY)
    assert story.do(selections.load_selection, run.id, KEY) == asked
    assert ask(story, run) == (asked, [])
    story.do(selections.finish_select, claim, blob="a", result={"rows": 3})
    done, none = ask(story, run)
    assert (done.status, done.blob, done.result, none) == ("done", "a", {"rows": 3}, [])
    assert story.do(selections.get_selection, owner=OWNER, run_id=run.id, key=KEY) == done
    assert story.run(run).status == "completed"


def test_two_who_ask_at_once_get_one(story: Story, run: Run) -> None:
    with ThreadPoolExecutor(4) as pool:
        wakeups = [one for _, all_ in pool.map(lambda _: ask(story, run), range(4)) for one in all_]
    assert len(wakeups) == 1


def test_requests_of_other_keys_are_made_beside_it(story: Story, run: Run) -> None:
    assert len({one for key in ("a", "b") for one in ask(story, run, key=key)[1]}) == 2


def test_one_that_failed_says_why_and_is_made_anew_after_a_while(story: Story, run: Run) -> None:
    _, (wakeup,) = ask(story, run)
    story.fail(story.take(wakeup), permanent=True)
    failed, none = ask(story, run)
    assert (failed.status, failed.error, none) == ("failed", ERROR, [])
    _age(story, TRY_AGAIN_S + 1)
    again, (wakeup,) = ask(story, run)
    assert (again.status, again.error) == ("queued", None)
    story.do(selections.finish_select, story.take(wakeup), blob="a", result={})
    assert ask(story, run)[0].status == "done"


def test_a_failure_is_neither_the_runs_nor_told_there(story: Story, run: Run) -> None:
    before = story.events(run)
    _, (wakeup,) = ask(story, run)
    story.fail(story.take(wakeup))
    story.age(wakeup.work_id, 2)
    story.sweep()
    story.fail(story.take(wakeup), permanent=True)
    assert (story.run(run).status, story.events(run)) == ("completed", before)


def test_one_whose_worker_is_lost_every_time_fails(story: Story, run: Run) -> None:
    _, (wakeup,) = ask(story, run)
    with story.database.transaction() as conn:
        conn.execute(update(work).where(work.c.id == wakeup.work_id).values(max_attempts=1))
    story.take(wakeup)
    story.age(wakeup.work_id, 61)
    assert story.sweep().counts["failed"] == 1
    error = ask(story, run)[0].error
    assert error is not None
    assert error.code == "worker_lost"


def test_the_newest_of_a_run_are_kept_and_the_files_of_the_others_removed(
    story: Story, run: Run
) -> None:
    keys = [f"k{number:02}" for number in range(KEPT_PER_RUN + 2)]
    purges: list[Wakeup] = []
    for key in keys:
        _, (mine, *more) = ask(story, run, key=key)
        purges += more
        story.do(selections.finish_select, story.take(mine), blob=f"runs/{key}", result={})
    (purge,) = purges
    claim = story.take(purge)
    assert (claim.kind, claim.subject) == ("purge", "runs/k00")
    story.do(finish_purge, claim)
    with pytest.raises(NotFound):
        story.do(selections.get_selection, owner=OWNER, run_id=run.id, key="k00")
    for key in keys[1:]:
        mine = {"owner": OWNER, "run_id": run.id, "key": key}
        assert story.do(selections.get_selection, **mine).status == "done"
    again, (wakeup, other) = ask(story, run, key="k00")
    assert (again.status, again.blob, story.take(wakeup).kind) == ("queued", None, "select")
    assert story.take(other).subject == "runs/k01"


def test_no_owner_has_more_waiting_than_that(story: Story, run: Run) -> None:
    wakeups = [ask(story, run, key=str(number))[1][0] for number in range(MOST_WAITING)]
    with pytest.raises(SelectionNotReady, match="still being made"):
        ask(story, run, key="more")
    with pytest.raises(NotFound):
        story.do(selections.get_selection, owner=OWNER, run_id=run.id, key="more")
    assert ask(story, run, key="0")[1] == []
    story.do(selections.finish_select, story.take(wakeups[0]), blob="a", result={})
    assert ask(story, run, key="more")[0].status == "queued"


def test_the_sweeper_makes_the_unit_that_is_missing(story: Story, run: Run) -> None:
    ask(story, run)
    with story.database.transaction() as conn:
        conn.execute(delete(work).where(work.c.kind == "select"))
    swept = story.sweep()
    assert swept.counts["selecting"] == 1
    assert story.take(swept.wakeups[0]).kind == "select"
    assert story.sweep().counts["selecting"] == 0


def test_deleting_the_run_stops_it(story: Story, run: Run) -> None:
    (_, (begun,)), (_, (queued,)) = ask(story, run), ask(story, run, key="b")
    claim = story.take(begun)
    story.do(runs.delete_run, owner=OWNER, run_id=run.id)
    assert story.try_take(queued) is None
    assert story.sweep().counts["selecting"] == 0
    with pytest.raises(NotFound):
        ask(story, run)
    story.age(claim.work_id, 61)
    story.sweep()
    with pytest.raises(LeaseLost):
        story.do(selections.finish_select, claim, blob="a", result={})


@pytest.mark.parametrize("name", ["request_selection", "get_selection"])
def test_a_selection_of_another_owner_does_not_exist(story: Story, run: Run, name: str) -> None:
    ask(story, run)
    options: dict[str, Any] = {"run_id": run.id, "key": KEY}
    if name == "request_selection":
        options["request"] = REQUEST
    with pytest.raises(NotFound):
        story.do(getattr(selections, name), owner="bob", **options)
    assert story.do(getattr(selections, name), owner=OWNER, **options)


def test_a_selection_that_nobody_asked_for_does_not_exist(story: Story, run: Run) -> None:
    with pytest.raises(NotFound, match="Nobody has asked"):
        story.do(selections.get_selection, owner=OWNER, run_id=run.id, key=KEY)


def _age(story: Story, duration_s: float) -> None:
    earlier = selection.c.finished_at - seconds(duration_s)
    with story.database.transaction() as conn:
        conn.execute(update(selection).values(finished_at=earlier))
