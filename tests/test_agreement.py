"""Agreement of scorings: against scipy, and on figures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from winnow.agreement import agreement, compare
from winnow.errors import InputError
from winnow.proxy.engine import SpanLoss
from winnow.records.example import RejectionReason
from winnow.scores import RowScore, ScoreTable

RNG = np.random.default_rng(11)
TOKENS = RNG.integers(1, 400, 2000).astype(np.float64)


def _table(scores: list[float | None]) -> ScoreTable:
    loss = SpanLoss(nll=2.0, num_tokens=4)
    return ScoreTable.from_rows(
        RowScore(row=row, reason=RejectionReason.NO_ANSWER, detail="none")
        if score is None
        else RowScore(row=row, score=score, conditioned=loss, direct=loss)
        for row, score in enumerate(scores)
    )


def test_spearman_is_scipys_with_ties_too() -> None:
    a, b = RNG.normal(size=2000).round(1), RNG.normal(size=2000).round(1)
    found = compare(a, b, tokens=TOKENS)
    assert found.spearman.value == pytest.approx(spearmanr(a, b).statistic)
    assert found.length_a == pytest.approx(spearmanr(a, TOKENS).statistic)


def test_what_length_alone_explains_is_taken_out() -> None:
    a = np.log(TOKENS) + 0.5 * RNG.normal(size=2000)
    b = np.log(TOKENS) + 0.5 * RNG.normal(size=2000)
    found = compare(a, b, tokens=TOKENS)
    assert found.spearman.value > 0.6
    assert abs(found.partial.value) < 0.1


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    truth = (
        6 / np.pi * np.arcsin(0.5 / 2)
    )  # Spearman's correlation of normal variables with Pearson's 0.5
    inside = 0
    for _ in range(200):
        a = RNG.normal(size=300)
        b = 0.5 * a + np.sqrt(0.75) * RNG.normal(size=300)
        found = compare(a, b, tokens=TOKENS[:300]).spearman
        inside += found.low < truth < found.high
    assert inside >= 180


def test_overlap_counts_what_both_would_keep() -> None:
    a = np.arange(100, dtype=np.float64)
    b = np.concatenate([a[:5], a[:4:-1]])
    found = compare(a, b, tokens=TOKENS[:100], ratios=[0.1])
    (overlap,) = found.overlaps
    assert (overlap.lowest, overlap.highest, overlap.chance) == (0.5, 0.0, 0.1)


def test_only_rows_that_both_scored_are_compared() -> None:
    a: list[float | None] = [None, *[float(row) for row in range(20)], None]
    b: list[float | None] = [1.0, *[float(row) for row in range(20)], None]
    found = agreement(_table(a), _table(b))
    assert found.rows == 20
    assert found.spearman.value == pytest.approx(1)


def test_scores_of_different_datasets_are_refused() -> None:
    with pytest.raises(InputError, match="different datasets"):
        agreement(_table([1.0] * 20), _table([1.0] * 21))


def test_too_few_common_rows_are_refused() -> None:
    with pytest.raises(InputError, match="Fewer than 10"):
        agreement(_table([1.0] * 9 + [None]), _table([1.0] * 10))
