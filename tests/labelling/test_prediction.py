"""What scores mean to an annotator: an order, and one of three choices."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.labelling.prediction import (
    easiest,
    keep_threshold,
    predict,
    predictions_of,
    sort_score,
    verdict,
)
from winnow.proxy.engine import SpanLoss
from winnow.records.example import Flag, RejectionReason
from winnow.scores import RowScore, ScoreTable, score_batch, score_records
from winnow.spec import Method

METHODS = pytest.mark.parametrize("method", ["ifd", "learning_percentage", "s2l"])


def table(scores: list[float | None], **more: Any) -> ScoreTable:
    return ScoreTable.from_rows(
        RowScore(row=row, reason=RejectionReason.NO_ANSWER, detail="line 1: none.")
        if score is None
        else RowScore(row=row, score=score, conditioned=SpanLoss(nll=4.0, num_tokens=2), **more)
        for row, score in enumerate(scores)
    )


@METHODS
@given(scores=st.lists(st.decimals(0, 1000, places=6).map(float), unique=True, min_size=2))
def test_harder_rows_sort_higher_strictly(method: Method, scores: list[float]) -> None:
    if method == "learning_percentage":
        scores = [score / 100 for score in scores]
    hardest_first = sorted(scores, reverse=method != "learning_percentage")
    found = [sort_score(method, score) for score in hardest_first]
    assert all(before > after for before, after in pairwise(found))
    assert all(0 <= score <= 1 for score in found)


@METHODS
@pytest.mark.parametrize("score", [0.0, 1e-6, 1e300])
def test_no_score_leaves_the_range(method: Method, score: float) -> None:
    assert 0 <= sort_score(method, score) <= 1
    if method == "learning_percentage":
        assert 0 <= sort_score(method, -score) <= 1


def test_an_ifd_of_one_is_the_middle() -> None:
    assert sort_score("ifd", 1.0) == 0.5
    assert sort_score("learning_percentage", 0.0) == 0.5


def test_the_choice_is_a_place_in_the_order_or_a_doubt() -> None:
    assert [verdict("ifd", score, (), threshold=0.8) for score in (0.7, 0.8, 0.99, 1.0)] == [
        "drop", "keep", "keep", "check",
    ]  # fmt: skip
    low = [verdict("learning_percentage", score, (), threshold=0.2) for score in (0.1, 0.2, 0.3)]
    assert low == ["keep", "keep", "drop"]
    assert verdict("s2l", 5.0, (), threshold=None) == "drop"
    assert verdict("s2l", 5.0, [Flag.BLANK_ANSWER], threshold=1.0) == "check"
    assert verdict("learning_percentage", 0.1, ["unlearned"], threshold=0.2) == "check"


@METHODS
def test_every_row_of_a_selection_is_one_to_keep(method: Method) -> None:
    assert verdict(method, 0.5, (), threshold=easiest(method)) == "keep"


def test_the_threshold_is_that_of_the_hardest_tenth() -> None:
    scores = [score / 100 for score in range(150)]
    assert keep_threshold(table(scores), "ifd") == 0.85  # 15 rows below 1
    assert keep_threshold(table(scores), "s2l") == 1.35
    assert keep_threshold(table(scores), "learning_percentage", ratio=0.02) == 0.02
    assert keep_threshold(table([None, None]), "ifd") is None


def test_raw_values_stand_beside_the_choice() -> None:
    row = RowScore(
        row=3,
        score=0.5,
        conditioned=SpanLoss(nll=2.0, num_tokens=2),
        direct=SpanLoss(nll=2000.0, num_tokens=2),
        flags=(Flag.TRUNCATED,),
    )
    found = predict("ifd", score_records(score_batch([row]))[0], threshold=0.4)
    assert (found.score, found.choice) == (0.5 / 1.5, "keep")
    assert found.fields == {
        "score": 0.5, "loss_conditioned": 1.0, "loss_direct": 1000.0, "tokens_conditioned": 2, "tokens_direct": 2,
        "flags": ["truncated"], "perplexity_conditioned": 2.718282,
    }  # fmt: skip


def test_a_row_without_a_rank_has_no_sort_score() -> None:
    rejected, scored = predictions_of(table([None, 0.5]), "ifd", threshold=0.1)(table([0, 0]).row)
    assert (rejected.score, rejected.choice) == (None, "check")
    assert rejected.fields == {"reason": "no_answer", "detail": "line 1: none."}
    assert scored.choice == "keep"
    unlearned = table([0.5], flags=(Flag.UNLEARNED,))
    (found,) = predictions_of(unlearned, "learning_percentage", threshold=1.0)(unlearned.row)
    assert (found.score, found.choice) == (None, "check")
