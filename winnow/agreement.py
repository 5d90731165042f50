"""How far two scorings of the same rows agree, beside what answer length alone explains.

Answer length ranks instruction data too, and it is the same for every model. Two scorings may agree for that reason
alone, so each correlation comes with the partial one given the logarithm of the answer's tokens (ranks, as Spearman's):

    partial = (r_ab - r_al r_bl) / sqrt((1 - r_al^2) (1 - r_bl^2))

and an interval of 95 % from Fisher's transformation. Only rows that both scored are compared, without those that
a proxy did not learn: their learning percentage ranks nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau, rankdata

from winnow.errors import InputError
from winnow.scores import ScoreTable

Floats = npt.NDArray[np.float64]

RATIOS = (0.01, 0.05, 0.1, 0.25, 0.5)
MIN_ROWS = 10
"""Below this an interval says nothing."""
Z_95 = 1.959964
SPEARMAN_VARIANCE = 1.06
"""Of Fisher's z for ranks, times n - 3 (Fieller, Hartley and Pearson 1957)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """A correlation with its interval of 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Of the `ratio` that each scoring would keep, the share in common; `chance` is what unrelated ones share."""

    ratio: float
    highest: float
    lowest: float
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Two scorings compared; `length_*` is Spearman's correlation of each with the answer's tokens."""

    rows: int
    spearman: Correlation
    kendall: float
    partial: Correlation
    length_a: float
    length_b: float
    overlaps: tuple[Overlap, ...]


def agreement(a: ScoreTable, b: ScoreTable, *, ratios: Sequence[float] = RATIOS) -> Agreement:
    """Compare two score tables of one dataset; the answer's tokens are those of `a`.

    Raises:
        InputError: the tables are not of the same rows, or too few are left.
    """
    if len(a) != len(b):
        raise InputError(f"The scores are of different datasets: {len(a)} and {len(b)} rows.")
    both = a.ranked & b.ranked
    if np.count_nonzero(both) < MIN_ROWS:
        raise InputError(
            f"Fewer than {MIN_ROWS} rows are scored, and learned, in both; compare larger runs."
        )
    return compare(a.score[both], b.score[both], tokens=a.answer_tokens[both], ratios=ratios)


def compare(a: Floats, b: Floats, *, tokens: Floats, ratios: Sequence[float] = RATIOS) -> Agreement:
    """Compare two arrays of scores of the same rows, given how many tokens each answer has."""
    found = rank_correlations(a, b, tokens)
    return Agreement(
        rows=len(a),
        spearman=_interval(found.a_b, len(a)),
        kendall=float(kendalltau(a, b).statistic),
        partial=_interval(found.partial, len(a) - 1),
        length_a=found.a_length,
        length_b=found.b_length,
        overlaps=tuple(_overlap(a, b, ratio) for ratio in ratios),
    )


class RankCorrelations(NamedTuple):
    """Spearman's correlations of two arrays of scores and the answer's tokens, and the partial one given these."""

    a_b: float
    a_length: float
    b_length: float
    partial: float


def rank_correlations(a: Floats, b: Floats, tokens: Floats) -> RankCorrelations:
    """The correlations of ranks; NaN where one side does not vary. Ranks of tokens are those of their logarithms."""
    ranks = [rankdata(values) for values in (a, b, tokens)]
    r_ab, r_al, r_bl = (_pearson(ranks[i], ranks[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    explained = math.sqrt(max(0.0, (1 - r_al**2) * (1 - r_bl**2)))
    partial = (r_ab - r_al * r_bl) / explained if explained else math.nan
    return RankCorrelations(r_ab, r_al, r_bl, partial)


def _pearson(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm else math.nan


def _interval(value: float, num_rows: int) -> Correlation:
    if math.isnan(value) or abs(value) >= 1:
        return Correlation(value=value, low=value, high=value)
    half = Z_95 * math.sqrt(SPEARMAN_VARIANCE / (num_rows - 3))
    centre = math.atanh(value)
    return Correlation(value=value, low=math.tanh(centre - half), high=math.tanh(centre + half))


def _overlap(a: Floats, b: Floats, ratio: float) -> Overlap:
    k = max(1, math.floor(ratio * len(a)))
    return Overlap(
        ratio=ratio,
        highest=_shared(-a, -b, k),
        lowest=_shared(a, b, k),
        chance=k / len(a),
    )


def _shared(a: Floats, b: Floats, k: int) -> float:
    """The share of the k smallest that two arrays have in common; ties by row."""
    first, second = (set(np.argsort(values, kind="stable")[:k].tolist()) for values in (a, b))
    return len(first & second) / k
