"""Selections that took work, as they are kept."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from winnow.selection.ratio import Selected
from winnow.selection.request import Selection
from winnow.selection.stored import read_selected, selection_key, write_selected

ASKED: dict[str, Any] = {"ratio": "0.1", "strategy": "facility_location"}


def test_what_is_read_is_what_was_written() -> None:
    selected = Selected(
        rows=np.array([7, 3, 5]),
        rows_read=9,
        k=3,
        taken_by_rule={"rejected": 1, "beyond_k": 5},
        threshold=None,
    )
    file = io.BytesIO()
    kept = json.loads(json.dumps(write_selected(selected, file)))
    found = read_selected(io.BytesIO(file.getvalue()), kept)
    assert found.rows.tolist() == [7, 3, 5]
    assert (found.rows_read, found.k, found.threshold) == (9, 3, None)
    assert found.taken_by_rule == selected.taken_by_rule


def test_equal_requests_have_one_key() -> None:
    written: list[dict[str, Any]] = [
        {"ratio": "0.10"},
        {"ratio": 0.1},
        {"pool_ratio": "0.20"},
        {"pool_ratio": None},
        # The same rows in another order, and a seed where nothing is drawn.
        {"order": "score"},
        {"seed": 1},
    ]
    assert len({selection_key(Selection.make(**ASKED | one)) for one in written}) == 1


def test_a_seed_counts_where_rows_are_drawn() -> None:
    drawn = [Selection.make(strategy="random", ratio="0.1", seed=seed) for seed in (1, 2)]
    assert selection_key(drawn[0]) != selection_key(drawn[1])


@pytest.mark.parametrize("other", [{"ratio": "0.2"}, {"pool_ratio": "0.3"}], ids=str)
def test_other_requests_have_other_keys(other: dict[str, Any]) -> None:
    assert selection_key(Selection.make(**ASKED)) != selection_key(Selection.make(**ASKED | other))
