"""Scores: stored once, read back exactly, in row order."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.store.story import OWNER, Story
from winnow.proxy.engine import SpanLoss
from winnow.records.example import Flag, RejectionReason
from winnow.scores import SCORE_SCHEMA, RowScore, ScoreTable
from winnow.store import scores
from winnow.store.runs import Run
from winnow.store.session import Database

ROWS = [
    RowScore(
        row=0,
        score=0.123457,
        conditioned=SpanLoss(nll=1 / 3, num_tokens=3),
        direct=SpanLoss(nll=2e-300, num_tokens=2_000_000_000),
        flags=(Flag.TRUNCATED, Flag.TURNS_DROPPED),
    ),
    RowScore(row=1, reason=RejectionReason.EMPTY_ANSWER, detail=""),
    RowScore(
        row=2, reason=RejectionReason.MALFORMED, detail='line 3: "a, b"\r\nand é 漢 \\N \\. NULL'
    ),
    RowScore(
        row=3,
        score=1.5,
        conditioned=SpanLoss(nll=1.0, num_tokens=1),
        direct=SpanLoss(nll=0.1, num_tokens=1),
    ),
    RowScore(row=4, reason=RejectionReason.NON_FINITE_LOSS),
]


@pytest.fixture
def run(story: Story) -> Run:
    return story.start(story.ready())[0]


def test_page_gives_rows_back_as_they_were_stored(story: Story, run: Run) -> None:
    story.do(scores.store_scores, run.id, ROWS)
    first = story.do(scores.page_scores, owner=OWNER, run_id=run.id, limit=2)
    assert (first.items, first.has_more) == (tuple(ROWS[:2]), True)
    rest = story.do(scores.page_scores, owner=OWNER, run_id=run.id, after_row=1, limit=3)
    assert (rest.items, rest.has_more) == (tuple(ROWS[2:]), False)


def test_copy_gives_every_value_back_in_row_order_and_in_batches(story: Story, run: Run) -> None:
    story.do(scores.store_scores, run.id, ROWS[::-1])
    batches = story.do(lambda conn: list(scores.copy_scores(conn, run.id, batch_rows=2)))
    assert [batch.num_rows for batch in batches] == [2, 2, 1]
    assert all(batch.schema == SCORE_SCHEMA for batch in batches)
    expected = ScoreTable.from_rows(ROWS).table.to_pylist()
    assert pa.Table.from_batches(batches).to_pylist() == expected


def test_clusters_are_noted_beside_the_scores_and_outlive_a_block_that_is_scored_again(
    story: Story, run: Run
) -> None:
    story.do(scores.store_scores, run.id, ROWS)
    found = {"rows": [0, 1, 3], "cluster": [7, None, 0], "cluster_in_source": [None, None, 2]}
    story.do(scores.store_clusters, run.id, **found)
    story.do(scores.store_scores, run.id, ROWS[:2])
    page = story.do(scores.page_scores, owner=OWNER, run_id=run.id).items
    assert [(row.cluster, row.cluster_in_source) for row in page] == [
        *((7, None), (None, None), (None, None)),
        *((0, 2), (None, None)),
    ]
    (batch,) = story.do(lambda conn: list(scores.copy_scores(conn, run.id)))
    assert batch.column("cluster").to_pylist() == [7, None, None, 0, None]


def test_copy_keeps_long_texts_of_many_lines_whole(story: Story, run: Run) -> None:
    long = [
        RowScore(row=row, reason=RejectionReason.MALFORMED, detail=f"{row},\n" * 400_000)
        for row in range(3)
    ]
    story.do(scores.store_scores, run.id, long)
    (batch,) = story.do(lambda conn: list(scores.copy_scores(conn, run.id)))
    assert batch.column("detail").to_pylist() == [row.detail for row in long]


def test_copy_of_a_run_without_scores_is_empty(story: Story, run: Run) -> None:
    assert story.do(lambda conn: list(scores.copy_scores(conn, run.id))) == []


def test_copy_that_is_left_early_leaves_the_connection_usable(story: Story, run: Run) -> None:
    story.do(scores.store_scores, run.id, ROWS)
    database = Database(story.database.url, pool_size=1)
    for _ in range(3):
        with database.transaction() as conn:
            batches = scores.copy_scores(conn, run.id, batch_rows=1)
            assert next(batches).num_rows == 1
            batches.close()
        with database.transaction() as conn:
            page = scores.page_scores(conn, owner=OWNER, run_id=run.id)
            assert len(page.items) == len(ROWS)
    database.dispose()


def test_block_that_is_stored_twice_stands_once_with_the_last_values(
    story: Story, run: Run
) -> None:
    story.do(scores.store_scores, run.id, ROWS)
    changed = [RowScore(row=1, score=0.25), RowScore(row=0, reason=RejectionReason.NO_ANSWER)]
    story.do(scores.store_scores, run.id, changed)
    page = story.do(scores.page_scores, owner=OWNER, run_id=run.id)
    assert page.items == (changed[1], changed[0], *ROWS[2:])


def test_text_that_postgres_cannot_hold_is_stored_visibly(story: Story, run: Run) -> None:
    odd = RowScore(row=0, reason=RejectionReason.MALFORMED, detail="a\x00b\ud800")
    story.do(scores.store_scores, run.id, [odd])
    (row,) = story.do(scores.page_scores, owner=OWNER, run_id=run.id).items
    assert row.detail == "a\\x00b\\ud800"
