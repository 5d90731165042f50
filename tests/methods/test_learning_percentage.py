"""LP against its definition, on figures made by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from winnow.methods.learning_percentage import approximate, learning_percentage, perplexity

LEARNED_EARLY = [9.0, 2.0, 1.5, 1.0]
LEARNED_LATE = [9.0, 8.0, 5.0, 1.0]
NEVER_SCORED = [1.0, 1.0, 1.0, 1.0]
FORGOTTEN = [2.0, 3.0, 4.0, 5.0]


def _columns(*rows: list[float]) -> npt.NDArray[np.float64]:
    return np.array(rows).T


def test_lp_is_the_share_of_the_drop_that_an_epoch_brings() -> None:
    found = learning_percentage(_columns(LEARNED_EARLY, LEARNED_LATE))
    assert found.score == pytest.approx([7 / 8, 1 / 8])


def test_the_shares_of_all_epochs_add_up_to_one() -> None:
    perplexities = np.exp(np.random.default_rng(7).normal(1, 1, size=(4, 500)))
    total = sum(learning_percentage(perplexities, epoch=epoch).score for epoch in (1, 2, 3))
    assert total == pytest.approx(np.ones(500))


def test_a_row_without_a_drop_has_no_score() -> None:
    found = learning_percentage(_columns(NEVER_SCORED, LEARNED_LATE))
    assert math.isnan(found.score[0])
    assert found.not_learned.tolist() == [True, False]


def test_the_published_rule_calls_such_a_row_the_hardest() -> None:
    found = learning_percentage(_columns(NEVER_SCORED, LEARNED_LATE), compat="small2large")
    assert found.score[0] == 0.0
    assert found.not_learned.tolist() == [True, False]


def test_a_row_whose_perplexity_rose_is_told_apart() -> None:
    found = learning_percentage(_columns(FORGOTTEN, LEARNED_LATE, NEVER_SCORED))
    assert found.unlearned.tolist() == [True, False, False]
    assert found.score[0] == pytest.approx(1 / 3)


def test_the_approximation_needs_one_epoch() -> None:
    assert approximate(_columns(LEARNED_EARLY[:2], LEARNED_LATE[:2])) == pytest.approx(
        [7 / 9, 1 / 9]
    )


def test_a_loss_beyond_floats_is_an_infinite_perplexity() -> None:
    assert perplexity(np.array([0.0, 1.0, 1000.0])).tolist() == [1.0, math.e, math.inf]
