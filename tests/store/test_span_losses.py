"""The cache of losses: what a run may see of it, who may store at the same time, and when it is forgotten."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError

from tests.store.story import OWNER, Story
from winnow.proxy.engine import SpanLoss
from winnow.spec import RunSpec
from winnow.store.runs import Run
from winnow.store.span_losses import CacheUse, KnownLoss, find_losses, forget_losses, keep_losses
from winnow.store.tables import span_loss

LOSSES = {bytes([number] * 16): SpanLoss(nll=number / 7, num_tokens=number) for number in (3, 1, 2)}


def keep(story: Story, losses: dict[bytes, SpanLoss] = LOSSES, *, owner: str = OWNER) -> None:
    story.do(keep_losses, owner=owner, use=CacheUse(computed=losses))


def make_run(story: Story, letter: str = "a") -> Run:
    return story.start(story.ready(sha256=letter * 64), spec=RunSpec.make(cache=True))[0]


def seen(story: Story, run: Run, *, owner: str = OWNER) -> dict[bytes, KnownLoss]:
    assert run.cache_snapshot is not None
    keys = [*LOSSES, b"x" * 16]
    return story.do(find_losses, owner=owner, keys=keys, snapshot=run.cache_snapshot)


def let_days_pass(story: Story, days: int) -> None:
    with story.database.transaction() as conn:
        conn.execute(update(span_loss).values(used_on=span_loss.c.used_on - days))


def test_a_run_sees_exactly_what_was_stored_before_it(story: Story) -> None:
    keep(story)
    found = seen(story, make_run(story))
    assert found == {key: KnownLoss(loss=loss, stale=False) for key, loss in LOSSES.items()}


def test_a_run_sees_nothing_of_another_owner(story: Story) -> None:
    keep(story, owner="bob")
    assert seen(story, make_run(story)) == {}


def test_a_run_does_not_see_what_is_stored_after_it(story: Story) -> None:
    run = make_run(story)
    keep(story)
    assert seen(story, run) == {}


def test_a_run_never_sees_what_was_being_stored_while_it_was_made(story: Story) -> None:
    with story.database.transaction() as conn:
        keep_losses(conn, owner=OWNER, use=CacheUse(computed=LOSSES))
        run = make_run(story)
        assert seen(story, run) == {}
    assert seen(story, run) == {}
    assert len(seen(story, make_run(story, "b"))) == 3


def test_a_run_without_the_cache_has_no_snapshot(story: Story) -> None:
    assert story.start(story.ready())[0].cache_snapshot is None


def test_what_is_stored_first_stands(story: Story) -> None:
    keep(story)
    run = make_run(story)
    keep(story, {key: SpanLoss(nll=0.0, num_tokens=1) for key in LOSSES})
    assert {key: known.loss for key, known in seen(story, run).items()} == LOSSES


def test_a_loss_that_is_no_number_cannot_be_stored(story: Story) -> None:
    for nll in (float("nan"), float("inf")):
        with pytest.raises(IntegrityError):
            keep(story, {b"k" * 16: SpanLoss(nll=nll, num_tokens=1)})


def test_many_workers_store_the_same_spans_without_waiting_in_a_circle(story: Story) -> None:
    keys = [number.to_bytes(16, "big") for number in range(500)]

    def store(seed: int) -> None:
        shuffled = random.Random(seed).sample(keys, len(keys))  # noqa: S311
        computed = {key: SpanLoss(nll=1.0, num_tokens=1) for key in shuffled}
        for _ in range(5):
            use = CacheUse(computed=computed, stale=shuffled)
            story.do(keep_losses, owner=OWNER, use=use)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store, range(8)))
    assert story.do(lambda conn: conn.scalar(select(func.count()).select_from(span_loss))) == 500


def test_losses_are_forgotten_when_nobody_has_used_them_for_so_many_days(story: Story) -> None:
    keep(story)
    let_days_pass(story, 30)
    assert story.do(forget_losses, days=30) == 0
    found = seen(story, make_run(story))
    assert all(known.stale for known in found.values())
    used = next(iter(LOSSES))
    story.do(keep_losses, owner=OWNER, use=CacheUse(stale=[used]))
    let_days_pass(story, 1)
    assert story.sweep().counts["forgotten"] == 2
    assert list(seen(story, make_run(story, "b"))) == [used]


def test_a_lookup_reads_what_it_asks_for_and_not_all_that_the_owner_has(story: Story) -> None:
    many = {number.to_bytes(16, "big"): SpanLoss(nll=1.0, num_tokens=1) for number in range(20_000)}
    keep(story, many)
    run = make_run(story)
    with story.database.transaction() as conn:
        find_losses(conn, owner=OWNER, keys=list(many)[:100], snapshot=str(run.cache_snapshot))
        assert conn.scalar(_ENTRIES_READ) < 200


_ENTRIES_READ = text("""
    SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'span_loss'
""")
