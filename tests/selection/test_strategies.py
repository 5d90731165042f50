"""Selections that spread over clusters or embeddings: sizes, balance, representation, and what they need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import InvalidOption
from winnow.proxy.engine import SpanLoss
from winnow.records.example import Flag, RejectionReason
from winnow.scores import RowScore, ScoreTable
from winnow.selection.facility_location import facility_location
from winnow.selection.ratio import Selected, Selection, arranged, needs_work, select
from winnow.selection.request import check_available
from winnow.spec import RunSpec

LOSS = SpanLoss(nll=1.0, num_tokens=1)
Row = tuple[float | None, int]
"""A score, None if rejected, and a cluster, -1 if none."""
ROWS = st.lists(
    st.tuples(st.sampled_from([None, 0.25, 0.5, 0.75, 1.5]), st.integers(-1, 5)), max_size=60
)
METHODS = st.sampled_from(["ifd", "learning_percentage", "s2l"])
CLUSTERED = st.sampled_from(["cluster_bottom", "cluster_balanced"])


def table(rows: Sequence[Row], *, unlearned: frozenset[int] = frozenset()) -> ScoreTable:
    labels = np.array([cluster for _, cluster in rows], dtype=np.int32)
    scores = ScoreTable.from_rows(
        RowScore(row=row, reason=RejectionReason.EMPTY_ANSWER, detail="empty")
        if score is None
        else RowScore(
            row=row,
            score=score,
            conditioned=LOSS,
            flags=(Flag.UNLEARNED,) if row in unlearned else (),
        )
        for row, (score, _) in enumerate(rows)
    )
    return scores.with_clusters(labels, labels * 2)


def sources_of(names: str) -> pa.ChunkedArray:
    return pa.chunked_array([list(names)], pa.string())


def pick(
    rows: Sequence[Row], *, unlearned: frozenset[int] = frozenset(), **options: Any
) -> Selected:
    names = "abbccc".ljust(len(rows), "d")[: len(rows)]
    return select(
        table(rows, unlearned=unlearned),
        Selection.make(**options),
        sources=lambda: sources_of(names),
        points=lambda: points(len(rows)),
    )


def points(num_rows: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(4).normal(size=(num_rows, 3)).astype(np.float32)


@given(
    rows=ROWS.filter(lambda rows: any(cluster >= 0 for _, cluster in rows)),
    method=METHODS,
    strategy=st.one_of(CLUSTERED, st.just("facility_location")),
    count=st.integers(1, 70),
    groups=st.sampled_from([{}, {"per": "source"}, {"stratify": "source"}, {"stratify": "length"}]),
)
def test_as_many_rows_as_are_asked_for_or_left_and_every_row_accounted_for(
    rows: list[Row], method: str, strategy: str, count: int, groups: dict[str, str]
) -> None:
    found = pick(rows, method=method, strategy=strategy, count=count, **groups)
    left = len(rows) - sum(n for rule, n in found.taken_by_rule.items() if rule != "beyond_k")
    assert len(found.rows) == min(count, left)
    assert len(found.rows) + sum(found.taken_by_rule.values()) == len(rows)
    assert found.rows.tolist() == sorted(set(found.rows.tolist()))
    again = pick(rows, method=method, strategy=strategy, count=count, **groups)
    assert again.rows.tolist() == found.rows.tolist()
    assert found.threshold is None


@given(rows=ROWS, count=st.integers(1, 70))
def test_every_cluster_of_more_than_two_rows_is_represented_if_the_budget_allows(
    rows: list[Row], count: int
) -> None:
    scored = Counter(cluster for score, cluster in rows if score is not None and cluster >= 0)
    large = {cluster for cluster, size in scored.items() if size > 2}
    if not scored:
        return
    found = pick(rows, method="s2l", strategy="cluster_balanced", count=count)
    given_rows = Counter(rows[row][1] for row in found.rows.tolist())
    if count >= len(large):
        assert large <= set(given_rows)
    for tiny in set(given_rows) - large:
        # A tiny cluster fills what is left: it gives only where the others have given all.
        assert tiny in scored
        assert all(given_rows[cluster] == scored[cluster] for cluster in large)


def test_bottom_takes_the_lowest_of_each_cluster_in_proportion() -> None:
    rows: list[Row] = [(0.9 - row / 100, row // 20 if row < 40 else 2) for row in range(50)]
    found = pick(rows, method="learning_percentage", ratio=0.2)
    assert found.rows.tolist() == [16, 17, 18, 19, 36, 37, 38, 39, 48, 49]


def test_a_filter_moves_no_draw_of_a_balanced_choice() -> None:
    rows: list[Row] = [(0.25 if row % 2 else 0.5, 0) for row in range(40)]
    kept = pick(rows, method="s2l", count=5, min_score=0.4).rows.tolist()
    draws = np.random.PCG64(42).random_raw(40)
    even = [row for row in np.argsort(draws).tolist() if row % 2 == 0]
    assert kept == sorted(even[:5])
    assert kept != pick(rows, method="s2l", count=5, min_score=0.4, seed=1).rows.tolist()


def test_unlearned_rows_are_left_out_of_what_prefers_low_scores() -> None:
    rows: list[Row] = [(0.1, 0), (0.2, 0), (0.3, 0)]
    options: dict[str, Any] = {"method": "learning_percentage", "count": 1}
    for strategy in ("bottom", "cluster_bottom", "facility_location"):
        found = pick(rows, unlearned=frozenset({0}), strategy=strategy, **options)
        assert found.taken_by_rule["unlearned"] == 1
        assert 0 not in found.rows
    kept = pick(rows, unlearned=frozenset({0}), include_unlearned=True, **options)
    assert kept.rows.tolist() == [0]


def test_only_the_scores_of_ifd_mislead_from_1_on() -> None:
    rows: list[Row] = [(0.5, 0), (1.5, 0), (0.7, 0)]
    assert pick(rows, strategy="top", count=1).rows.tolist() == [2]
    for method in ("learning_percentage", "s2l"):
        found = pick(rows, method=method, strategy="top", count=1)
        assert found.rows.tolist() == [1]
        assert "score_at_least_1" not in found.taken_by_rule


def test_per_source_chooses_among_clusters_of_each_source() -> None:
    rows: list[Row] = [(0.5, 0)] * 20
    scores = ScoreTable.from_rows(
        RowScore(row=row, score=0.5, conditioned=LOSS) for row in range(20)
    )
    of_all = np.zeros(20, dtype=np.int32)
    in_source = np.array([0] * 5 + [1] * 5 + [2] * 10, dtype=np.int32)
    found = select(
        scores.with_clusters(of_all, in_source),
        Selection.make(method="s2l", count=8, per="source"),
        sources=lambda: sources_of("a" * 10 + "b" * 10),
    )
    assert Counter(in_source[found.rows].tolist()) == {0: 2, 1: 2, 2: 4}
    assert len(pick(rows, method="s2l", count=8, per="source").rows) == 8


def test_rows_of_one_source_are_shared_out_by_the_clusters_of_all() -> None:
    none = np.full(12, -1, dtype=np.int32)
    labels = np.array([0] * 6 + [1] * 6, dtype=np.int32)
    scores = ScoreTable.from_rows(
        RowScore(row=row, score=0.5, conditioned=LOSS) for row in range(12)
    )
    found = select(
        scores.with_clusters(labels, none),
        Selection.make(method="s2l", count=4, per="source"),
        sources=lambda: sources_of("a" * 12),
    )
    assert Counter(labels[found.rows].tolist()) == {0: 2, 1: 2}


def test_the_published_rounding_takes_a_part_of_every_cluster() -> None:
    rows: list[Row] = [(row / 100, 0 if row < 11 else 1) for row in range(14)]
    options: dict[str, Any] = {"method": "learning_percentage", "quota": "per_cluster"}
    assert pick(rows, ratio=0.1, **options).rows.tolist() == [0, 1, 11]


def test_facility_location_represents_the_best_rows() -> None:
    rows: list[Row] = [(0.2 + row / 100, 0) for row in range(60)]
    found = pick(rows, strategy="facility_location", ratio="0.1", pool_ratio=0.5)
    best = np.arange(30, 60)
    expected = best[facility_location(points(60)[best], 6)]
    assert found.rows.tolist() == sorted(expected.tolist())
    lowest = pick(
        rows,
        method="learning_percentage",
        strategy="facility_location",
        ratio="0.1",
        pool_ratio=0.5,
    )
    assert lowest.rows.max() < 30


def test_the_pool_is_never_smaller_than_what_is_asked_for() -> None:
    rows: list[Row] = [(0.5, 0)] * 20
    assert len(pick(rows, strategy="facility_location", ratio="0.9").rows) == 18


def test_a_row_without_an_embedding_is_no_representative() -> None:
    matrix = points(6)
    matrix[2] = np.nan
    found = select(
        table([(0.5, 0)] * 6),
        Selection.make(strategy="facility_location", count=6),
        sources=lambda: sources_of("aaaaaa"),
        points=lambda: matrix,
    )
    assert found.rows.tolist() == [0, 1, 3, 4, 5]
    assert found.taken_by_rule["no_embedding"] == 1


@pytest.mark.parametrize("strategy", ["cluster_bottom", "cluster_balanced", "facility_location"])
def test_what_a_run_lacks_is_said_before_and_after_scoring(strategy: str) -> None:
    selection = Selection.make(strategy=strategy, count=1)
    with pytest.raises(InvalidOption, match="score with embeddings=true"):
        select(table([(0.5, -1)]), selection, sources=lambda: sources_of("a"))
    with pytest.raises(InvalidOption, match="score with embeddings=true"):
        check_available(selection, RunSpec.make())
    check_available(selection, RunSpec.make(embeddings=True))


def test_s2l_has_clusters_without_embeddings() -> None:
    spec = RunSpec.make(method="s2l")
    check_available(Selection.make(method="s2l", count=1), spec)
    with pytest.raises(InvalidOption, match="no embeddings"):
        check_available(Selection.make(strategy="facility_location", count=1), spec)


def test_a_run_whose_rows_are_all_rejected_has_an_empty_subset() -> None:
    assert pick([(None, -1)], method="s2l", count=1).rows.tolist() == []
    assert pick([(None, 0)], strategy="facility_location", count=1).rows.tolist() == []


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"ratio": 0.1, "quota": "per_cluster"}, "quota"),
        ({"count": 3, "strategy": "cluster_bottom", "quota": "per_cluster"}, "quota"),
        ({"ratio": 0.1, "strategy": "cluster_bottom", "quota": "all"}, "quota"),
        ({"ratio": 0.1, "strategy": "cluster_bottom", "quota": "per_cluster", "per": "source"}, "quota"),
        ({"ratio": 0.1, "pool_ratio": 0.5}, "pool_ratio"),
        ({"ratio": 0.1, "strategy": "facility_location", "pool_ratio": 2}, "pool_ratio"),
    ],
)  # fmt: skip
def test_an_option_of_another_strategy_is_named(options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        Selection.make(**options)
    assert refused.value.param == param


def test_each_method_has_a_strategy_of_its_own() -> None:
    assert Selection.make(method="learning_percentage", count=1).strategy == "cluster_bottom"
    assert Selection.make(method="s2l", count=1).strategy == "cluster_balanced"


def test_the_pool_is_part_of_the_request_where_there_is_one() -> None:
    asked = Selection.make(strategy="facility_location", ratio="0.1")
    assert asked.pool_ratio == Decimal("0.2")
    assert Selection.make(**asked.as_dict()) == asked
    assert needs_work(asked)
    assert not needs_work(Selection.make(method="s2l", count=1))


@pytest.mark.parametrize("method", ["ifd", "learning_percentage", "s2l"])
def test_the_best_row_comes_first_where_the_order_is_that_of_scores(method: str) -> None:
    rows: list[Row] = [(0.5, 0), (0.3, 0), (0.7, 0), (0.3, 0)]
    found = pick(rows, method=method, strategy="cluster_balanced", count=4, order="score")
    hardest_low = method == "learning_percentage"
    assert found.rows.tolist() == ([1, 3, 0, 2] if hardest_low else [2, 0, 1, 3])


@pytest.mark.parametrize("by", ["per", "stratify"])
def test_rows_without_sources_are_not_shared_out_among_them(by: str) -> None:
    scores = ScoreTable.from_rows(RowScore(row=row, score=0.5) for row in range(4))
    with pytest.raises(InvalidOption, match="No row names its source") as refused:
        select(
            scores,
            Selection.make(ratio=0.5, **{by: "source"}),
            sources=lambda: pa.chunked_array([[None] * 4], pa.string()),
        )
    assert refused.value.param == by


@given(rows=ROWS, method=METHODS, strategy=st.sampled_from(["top", "bottom", "random"]))
def test_rows_that_were_kept_in_their_own_order_are_arranged_as_they_are_asked_for(
    rows: list[Row], method: Any, strategy: str
) -> None:
    scores = table(rows)
    asked = Selection.make(method=method, strategy=strategy, ratio="0.5", seed=7, order="score")
    expected = select(scores, asked, sources=lambda: sources_of(""))
    kept = select(scores, asked.canonical(), sources=lambda: sources_of(""))
    assert arranged(kept, scores, asked).rows.tolist() == expected.rows.tolist()
    assert kept.rows.tolist() == sorted(expected.rows.tolist())
