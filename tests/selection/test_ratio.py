"""Selection: exactly k, every row accounted for, ties by row, the same rows for the same request."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import InvalidOption
from winnow.proxy.engine import SpanLoss
from winnow.records.example import Flag, RejectionReason
from winnow.scores import RowScore, ScoreTable
from winnow.selection.ratio import Selected, Selection, select

LOSS = SpanLoss(nll=1.0, num_tokens=1)
# Few distinct scores, so that ties are the rule.
SCORES = st.lists(
    st.one_of(st.none(), st.sampled_from([0.25, 0.5, 0.999999, 1.0, 1.5])), max_size=60
)
STRATEGIES = st.sampled_from(["top", "bottom", "random"])


def table(scores: list[float | None], *, unlearned: frozenset[int] = frozenset()) -> ScoreTable:
    return ScoreTable.from_rows(
        RowScore(row=row, reason=RejectionReason.EMPTY_ANSWER, detail="empty")
        if score is None
        else RowScore(
            row=row,
            score=score,
            conditioned=LOSS,
            direct=LOSS,
            flags=(Flag.UNLEARNED,) if row in unlearned else (),
        )
        for row, score in enumerate(scores)
    )


def no_sources() -> pa.ChunkedArray:
    raise AssertionError("sources are read, and nothing is selected by source")


def pick(scores: list[float | None], **options: Any) -> Selected:
    return select(table(scores), Selection.make(**options), sources=no_sources)


@given(scores=SCORES, strategy=STRATEGIES, ratio=st.decimals("0.01", "1", places=2))
def test_rows_selected_and_rows_taken_add_up_to_rows_read(
    scores: list[float | None], strategy: str, ratio: Decimal
) -> None:
    selected = pick(scores, strategy=strategy, ratio=ratio, min_score=0.3, max_score=1.2)
    assert len(selected.rows) + sum(selected.taken_by_rule.values()) == len(scores)
    assert selected.rows_read == len(scores)


@given(scores=SCORES, strategy=STRATEGIES, ratio=st.decimals("0.01", "1", places=2))
def test_k_is_exact_and_fewer_are_selected_only_if_no_more_are_left(
    scores: list[float | None], strategy: str, ratio: Decimal
) -> None:
    selected = pick(scores, strategy=strategy, ratio=ratio)
    assert selected.k == math.floor(Fraction(ratio) * len(scores))
    usable = [score for score in scores if score is not None and (strategy != "top" or score < 1)]
    assert len(selected.rows) == min(selected.k, len(usable))


@given(scores=SCORES, count=st.integers(1, 70))
def test_top_is_the_highest_below_one_and_bottom_the_lowest_ties_by_row(
    scores: list[float | None], count: int
) -> None:
    scored = [(score, row) for row, score in enumerate(scores) if score is not None]
    highest = sorted((-score, row) for score, row in scored if score < 1)[:count]
    top = pick(scores, strategy="top", count=count, order="score")
    assert top.rows.tolist() == [row for _, row in highest]
    bottom = pick(scores, strategy="bottom", count=count, order="score")
    assert bottom.rows.tolist() == [row for _, row in sorted(scored)[:count]]


@given(scores=SCORES, strategy=STRATEGIES, count=st.integers(1, 70))
def test_the_order_changes_no_row_and_original_is_ascending(
    scores: list[float | None], strategy: str, count: int
) -> None:
    original = pick(scores, strategy=strategy, count=count).rows.tolist()
    ranked = pick(scores, strategy=strategy, count=count, order="score").rows.tolist()
    assert original == sorted(ranked)


@given(scores=SCORES, strategy=STRATEGIES, count=st.integers(1, 60))
def test_a_larger_selection_contains_the_smaller(
    scores: list[float | None], strategy: str, count: int
) -> None:
    smaller = pick(scores, strategy=strategy, count=count).rows.tolist()
    larger = pick(scores, strategy=strategy, count=count + 1).rows.tolist()
    assert set(smaller) <= set(larger)


def test_a_ratio_is_decimal_not_binary() -> None:
    assert pick([0.5] * 100, ratio=0.29).k == 29
    assert pick([0.5] * 100, ratio="0.29").k == 29


def test_every_row_is_taken_by_the_first_rule_that_applies() -> None:
    scores = [None, 1.0, 1.7, 0.1, 0.9, 0.5, 0.4]
    selected = pick(scores, count=1, min_score=0.2, max_score=0.8)
    assert selected.rows.tolist() == [5]
    assert selected.taken_by_rule == {
        "rejected": 1, "score_at_least_1": 2, "min_score": 1, "max_score": 1, "beyond_k": 1,
    }  # fmt: skip


def test_bounds_are_inclusive() -> None:
    assert pick([0.2, 0.3, 0.4], ratio=1, min_score=0.2, max_score=0.3).rows.tolist() == [0, 1]


def test_bottom_leaves_out_rows_that_the_proxy_did_not_learn_unless_asked() -> None:
    scores = table([0.1, 0.2, 0.3], unlearned=frozenset({0}))
    left = select(scores, Selection.make(strategy="bottom", count=1), sources=no_sources)
    assert (left.rows.tolist(), left.taken_by_rule["unlearned"]) == ([1], 1)
    kept = select(
        scores,
        Selection.make(strategy="bottom", count=1, include_unlearned=True),
        sources=no_sources,
    )
    assert kept.rows.tolist() == [0]


def test_the_threshold_is_the_last_score_that_got_in() -> None:
    scores: list[float | None] = [0.1, 0.2, 0.3]
    assert pick(scores, strategy="top", count=2).threshold == 0.2
    assert pick(scores, strategy="bottom", count=2).threshold == 0.2
    assert pick(scores, strategy="random", count=2).threshold is None
    assert pick([None], count=2).threshold is None


@pytest.mark.parametrize("strategy", ["top", "bottom"])
def test_rows_at_the_threshold_are_told_apart_by_their_numbers(strategy: str) -> None:
    found = pick([0.2, None, 0.2, 0.2], strategy=strategy, count=2, order="score")
    assert (found.rows.tolist(), found.threshold, found.threshold_row) == ([0, 2], 0.2, 2)
    assert pick([0.1], strategy="random", count=1).threshold_row is None


@pytest.mark.parametrize("shared", [{"per": "source"}, {"stratify": "length"}])
def test_groups_that_are_shared_out_have_no_threshold(shared: dict[str, str]) -> None:
    selection = Selection.make(strategy="top", count=2, **shared)
    found = select(
        table([0.1, 0.2, 0.3]), selection, sources=lambda: pa.chunked_array([["a", "b", "a"]])
    )
    assert len(found.rows) == 2
    assert found.threshold is found.threshold_row is None


def test_a_random_draw_is_that_of_its_seed_for_ever() -> None:
    scores: list[float | None] = [0.5] * 20
    assert pick(scores, strategy="random", count=5).rows.tolist() == [4, 8, 10, 15, 17]
    other = pick(scores, strategy="random", count=5, seed=1).rows.tolist()
    assert other != [4, 8, 10, 15, 17]


def test_a_filter_does_not_move_the_draw_of_the_rows_it_leaves() -> None:
    scores: list[float | None] = [0.1 if row % 2 else 0.5 for row in range(40)]
    everything = pick(scores, strategy="random", count=40, order="original").rows
    filtered = pick(scores, strategy="random", count=5, min_score=0.3).rows
    draws = np.random.PCG64(42).random_raw(40)
    assert len(everything) == 40
    even = [row for row in np.argsort(draws).tolist() if row % 2 == 0]
    assert filtered.tolist() == sorted(even[:5])


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({}, "ratio"),
        ({"ratio": 0.1, "count": 3}, "ratio"),
        ({"ratio": 0}, "ratio"),
        ({"ratio": 1.01}, "ratio"),
        ({"ratio": math.nan}, "ratio"),
        ({"ratio": "a tenth"}, "ratio"),
        ({"count": 0}, "count"),
        ({"count": 1, "strategy": "best"}, "strategy"),
        ({"count": 1, "order": "random"}, "order"),
        ({"count": 1, "seed": -1}, "seed"),
        ({"count": 1, "min_score": math.inf}, "min_score"),
        ({"count": 1, "max_score": math.nan}, "max_score"),
        ({"count": 1, "min_score": 2.0, "max_score": 1.0}, "min_score"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        Selection.make(**options)
    assert caught.value.param == param


def test_a_method_has_a_strategy_of_its_own() -> None:
    assert Selection.make(ratio=0.1).strategy == "top"


def test_a_request_has_a_plain_form() -> None:
    assert Selection.make(ratio=0.10).as_dict()["ratio"] == "0.1"
    assert Selection.make(count=3).as_dict() == {
        "strategy": "top", "ratio": None, "count": 3, "min_score": None, "max_score": None,
        "include_unlearned": False, "seed": 42, "order": "original",
            "per": None, "stratify": None, "quota": None, "pool_ratio": None,
    }  # fmt: skip


def by_source(names: str, scores: list[float | None], **options: Any) -> Selected:
    """Rows whose sources are single letters; a dot is none."""
    sources = pa.chunked_array([[None if name == "." else name for name in names]], pa.string())
    return select(table(scores), Selection.make(**options), sources=lambda: sources)


def test_per_source_takes_the_best_of_each_in_equal_parts() -> None:
    scores: list[float | None] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    selected = by_source("aaaaabb.", scores, strategy="top", count=6, per="source")
    assert selected.rows.tolist() == [0, 1, 2, 5, 6, 7]
    assert selected.taken_by_rule["beyond_k"] == 2


def test_stratify_by_source_keeps_the_proportions_of_what_the_filters_leave() -> None:
    scores: list[float | None] = [1.5, 0.8, 0.7, 0.6, 0.5, None, 0.3, 0.2]
    selected = by_source("aaaaabbb", scores, strategy="top", count=3, stratify="source")
    assert selected.rows.tolist() == [1, 2, 6]
    assert selected.taken_by_rule == {"rejected": 1, "score_at_least_1": 1, "beyond_k": 3}


@given(
    scores=SCORES,
    strategy=STRATEGIES,
    count=st.integers(1, 70),
    groups=st.sampled_from([{"per": "source"}, {"stratify": "source"}, {"stratify": "length"}]),
)
def test_sharing_out_selects_as_many_rows_as_choosing_freely(
    scores: list[float | None], strategy: str, count: int, groups: dict[str, str]
) -> None:
    names = "abbccc.........."[: len(scores)].ljust(len(scores), "d")
    shared = by_source(names, scores, strategy=strategy, count=count, **groups)
    free = pick(scores, strategy=strategy, count=count)
    assert len(shared.rows) == len(free.rows)
    assert len(shared.rows) + sum(shared.taken_by_rule.values()) == len(scores)
    assert shared.rows.tolist() == sorted(set(shared.rows.tolist()))


def test_stratify_by_length_takes_from_short_and_long_answers_alike() -> None:
    rows = [
        RowScore(
            row=row,
            score=row / 1000,
            conditioned=SpanLoss(nll=1.0, num_tokens=row + 1),
            direct=LOSS,
        )
        for row in range(200)
    ]
    chosen = Selection.make(strategy="top", count=20, stratify="length")
    selected = select(ScoreTable.from_rows(rows), chosen, sources=no_sources)
    assert [row // 20 for row in selected.rows.tolist()] == [
        tenth for tenth in range(10) for _ in range(2)
    ]


def test_equal_and_proportional_parts_of_sources_contradict_each_other() -> None:
    with pytest.raises(InvalidOption, match="choose one") as refused:
        Selection.make(ratio=0.5, per="source", stratify="source")
    assert refused.value.param == "stratify"


@pytest.mark.parametrize("ratio", ["1e-999999999", "0." + "1" * 21])
def test_a_ratio_of_a_billion_digits_is_refused_at_once(ratio: str) -> None:
    with pytest.raises(InvalidOption, match="20 digits") as refused:
        Selection.make(ratio=ratio)
    assert refused.value.param == "ratio"
