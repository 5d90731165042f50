"""Learning percentage: how much of what a proxy learns about a row it learns in one epoch of its fine-tune.

    P_i    = exp(mean loss of the answer's tokens, EOS included) before training (i = 0) and after epoch i
    LP(i)  = (P_{i-1} - P_i) / (P_0 - P_n)                    Mekala et al. 2024, arXiv 2402.10430, section 3
    approx = (P_0 - P_1) / P_0                                the same question after a single epoch

The score is LP(1): low means learned late, hence hard, hence kept. Arrays hold epochs along the first axis and rows
along the second, as the published figures do.

A row whose perplexity after the last epoch equals the one before training has no learning percentage; one whose
perplexity rose has a number that ranks nothing. Neither is given a number that a selection could mistake for a score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Compat = Literal["small2large"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningPercentage:
    """`score` of each row, NaN where `not_learned`; that of an `unlearned` row says nothing about difficulty."""

    score: Floats
    not_learned: Mask
    unlearned: Mask


def perplexity(mean_loss: Floats) -> Floats:
    """Perplexity of mean losses in nats; infinite where a float cannot hold it."""
    with np.errstate(over="ignore"):
        return np.exp(mean_loss)


def learning_percentage(
    perplexities: Floats, *, epoch: int = 1, compat: Compat | None = None
) -> LearningPercentage:
    """LP(epoch) of every row from perplexities of shape (epochs + 1, rows).

    `compat` small2large is the published rule, 0 where P_0 = P_n; it is for reproductions only, since such rows then
    count as the hardest.
    """
    first, last = perplexities[0], perplexities[-1]
    not_learned = first == last
    drop = np.where(not_learned, 1.0, first - last)
    score = (perplexities[epoch - 1] - perplexities[epoch]) / drop
    score[not_learned] = 0.0 if compat == "small2large" else np.nan
    return LearningPercentage(score=score, not_learned=not_learned, unlearned=last > first)


def approximate(perplexities: Floats) -> Floats:
    """(P_0 - P_1) / P_0 of every row from perplexities of shape (at least 2, rows): one epoch of training is enough."""
    return np.asarray(1.0 - perplexities[1] / perplexities[0])
