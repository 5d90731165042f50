"""Trust: on rows whose truth is known, and never more than answer length alone would earn."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from scipy.stats import spearmanr

from winnow.errors import InputError, InvalidOption
from winnow.proxy.engine import SpanLoss
from winnow.records.example import RejectionReason
from winnow.scores import Flag, RowScore, ScoreTable
from winnow.trust import DRAWN_ROWS, check_sample, compare, sample_rows, trust

RNG = np.random.default_rng(3)
ROWS = 400
TOKENS = RNG.integers(1, 400, ROWS).astype(np.float64)
TRUTH = RNG.normal(size=ROWS)


def ifd(values: np.ndarray) -> np.ndarray:
    return 0.8 + 0.1 * values


def noisy(share: float) -> np.ndarray:
    return TRUTH + share * RNG.normal(size=ROWS)


def test_figures_are_scipys_and_lie_within_their_intervals() -> None:
    proxy, target = noisy(0.7), noisy(0.7)
    found = compare(ifd(proxy), ifd(target), tokens=TOKENS, method="ifd")
    assert found.spearman.value == pytest.approx(spearmanr(proxy, target).statistic)
    assert found.length.value == pytest.approx(spearmanr(TOKENS, target).statistic)
    kept = [each.proxy for each in found.kept]
    for one in (found.spearman, found.partial, found.length, found.gain, *kept):
        assert one.low <= one.value <= one.high
    assert found.gain.value == abs(found.spearman.value) - abs(found.length.value)
    assert 0.05 < found.spearman.high - found.spearman.low < 0.25


@pytest.mark.parametrize(
    ("noise", "verdict"), [(0.3, "strong"), (1.3, "fair"), (4.0, "weak"), (math.inf, "none")]
)
def test_the_verdict_goes_by_what_is_left_beside_length(noise: float, verdict: str) -> None:
    proxy = RNG.normal(size=ROWS) if math.isinf(noise) else noisy(noise)
    found = compare(proxy, TRUTH, tokens=TOKENS, method="s2l")
    assert found.verdict == verdict
    assert found.words


def test_two_models_that_rank_by_length_earn_no_trust() -> None:
    proxy, target = (np.log(TOKENS) + 0.3 * RNG.normal(size=ROWS) for _ in range(2))
    found = compare(proxy, target, tokens=TOKENS, method="s2l")
    assert found.spearman.value > 0.7
    assert found.verdict in {"none", "weak"}
    assert found.partial.low < 0.1
    assert found.gain.value < 0.1


def test_equal_scores_keep_the_same_rows_whatever_the_method() -> None:
    for method in ("ifd", "learning_percentage", "s2l"):
        found = compare(TRUTH, TRUTH, tokens=TOKENS, method=method)  # type: ignore[arg-type]
        assert [kept.proxy.value for kept in found.kept] == [1.0] * 4
        assert [kept.chance for kept in found.kept] == [0.05, 0.1, 0.25, 0.5]


def test_low_learning_percentages_are_kept_and_misleading_rows_are_not() -> None:
    target = np.arange(20) / 20
    proxy = target.copy()
    proxy[-2:] = [1.5, 1.7]
    tokens = TOKENS[:20]
    kept = compare(proxy, target, tokens=tokens, method="ifd", ratios=(0.1,)).kept
    assert kept[0].proxy.value == 0.0
    lowest = compare(proxy, target, tokens=tokens, method="learning_percentage", ratios=(0.1,)).kept
    assert lowest[0].proxy.value == 1.0


def test_scores_that_do_not_vary_are_no_evidence() -> None:
    found = compare(np.ones(ROWS), TRUTH, tokens=TOKENS, method="s2l")
    assert math.isnan(found.partial.value)
    assert found.verdict == "none"


def _table(scores: list[float | None]) -> ScoreTable:
    loss = SpanLoss(nll=2.0, num_tokens=4)
    return ScoreTable.from_rows(
        RowScore(row=row, reason=RejectionReason.NO_ANSWER, detail="none")
        if score is None
        else RowScore(row=row, score=score, conditioned=loss)
        for row, score in enumerate(scores)
    )


def test_only_rows_that_both_scored_are_compared() -> None:
    first = [None, *(row / 40 for row in range(20))]
    second = [0.5, None, *(row / 40 for row in range(19))]
    assert trust(_table(first), _table(second), method="ifd").rows == 19


def test_too_few_or_other_rows_are_refused() -> None:
    with pytest.raises(InputError, match="Fewer than 10"):
        trust(_table([0.5] * 9), _table([0.5] * 9), method="ifd")
    with pytest.raises(InputError, match="different rows"):
        trust(_table([0.5] * 10), _table([0.5] * 11), method="ifd")


def test_a_sample_is_drawn_from_the_usable_rows_and_repeats_itself() -> None:
    usable = np.ones(100, dtype=np.bool_)
    usable[::7] = False
    rows = sample_rows(usable, 30, seed=1)
    assert len(set(rows.tolist())) == 30
    assert usable[rows].all()
    assert rows.tolist() == sorted(rows.tolist()) == sample_rows(usable, 30, seed=1).tolist()
    assert rows.tolist() != sample_rows(usable, 30, seed=2).tolist()
    assert set(rows.tolist()) <= set(sample_rows(usable, 40, seed=1).tolist())
    assert sample_rows(usable, 500, seed=1).tolist() == np.flatnonzero(usable).tolist()


def test_a_sample_of_many_rows_is_the_same_in_little_memory() -> None:
    usable = np.ones(40 * DRAWN_ROWS + 7, dtype=np.bool_)
    usable[::3] = False
    usable[-5:] = True
    draw = np.where(usable, np.random.PCG64(5).random_raw(len(usable)), np.iinfo(np.uint64).max)
    expected = np.sort(np.argsort(draw, kind="stable")[:500])
    tracemalloc.start()
    try:
        rows = sample_rows(usable, 500, seed=5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows.tolist() == expected.tolist()
    assert peak < 64 * DRAWN_ROWS


@pytest.mark.parametrize("size", [49, 2001])
def test_a_sample_is_neither_too_small_nor_too_large(size: int) -> None:
    with pytest.raises(InvalidOption, match="from 50 to 2,000") as refused:
        check_sample(size)
    assert refused.value.param == "sample"


def test_rows_that_a_model_did_not_learn_rank_nothing() -> None:
    scores = [0.1 * row for row in range(12)]
    plain = ScoreTable.from_rows(RowScore(row=row, score=score) for row, score in enumerate(scores))
    unlearned = ScoreTable.from_rows(
        RowScore(row=row, score=-9.0 if row == 11 else score, flags=(Flag.UNLEARNED,) * (row == 11))
        for row, score in enumerate(scores)
    )
    found = trust(unlearned, plain, method="learning_percentage")
    assert found.rows == 11
    assert found.spearman.value == pytest.approx(1)
