"""The rows of a dataset that are no example, some thousands at a time."""

from __future__ import annotations

import pytest
from sqlalchemy import func, insert, literal, select

from tests.store.story import OWNER, Story
from winnow.errors import NotFound
from winnow.store.datasets import ROWS_AT_A_TIME, rejected_rows
from winnow.store.session import Connection
from winnow.store.tables import rejection

NUM_ROWS = 2 * ROWS_AT_A_TIME + 1


def test_rejected_rows_come_in_parts_that_fit_memory(story: Story) -> None:
    dataset = story.ready()
    rows = select(
        literal(dataset.id),
        func.generate_series(1000, 1000 + NUM_ROWS - 1),
        literal("no_answer"),
        literal("line 1"),
    )
    columns = ["dataset_id", "row", "reason", "detail"]
    story.do(lambda conn: conn.execute(insert(rejection).from_select(columns, rows)))
    known = set(story.do(_all, dataset.id))
    parts = story.do(
        lambda conn: [
            list(part) for part in rejected_rows(conn, owner=OWNER, dataset_id=dataset.id)
        ]
    )
    assert max(map(len, parts)) == ROWS_AT_A_TIME
    assert {row for part in parts for row in part} == known
    assert len(known) >= NUM_ROWS


def test_those_of_another_owner_are_not_there(story: Story) -> None:
    dataset = story.ready()
    with pytest.raises(NotFound):
        story.do(lambda conn: list(rejected_rows(conn, owner="bob", dataset_id=dataset.id)))


def _all(conn: Connection, dataset_id: str) -> list[int]:
    mine = rejection.c.dataset_id == dataset_id
    return list(conn.scalars(select(rejection.c.row).where(mine)))
