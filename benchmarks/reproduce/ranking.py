"""How far one model's ranking of rows holds for another, beside what answer length alone explains.

Correlations are `winnow.agreement`'s: Spearman's, and the partial one given the logarithm of the answer's tokens. The
interval of the partial one is from a bootstrap over rows, each resample ranked anew, which asks nothing of the
distribution. A resample is a weight for every row, so ranks come from sums of weights instead of sorting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.reproduce.place import number
from winnow.agreement import compare

Floats = npt.NDArray[np.float64]

RESAMPLES = 500
LEVEL = (2.5, 97.5)
LOWEST = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What the ranking of one model says of another's; `low` and `high` bound `partial` with 95 % confidence."""

    spearman: float
    partial: float
    low: float
    high: float

    @property
    def interval(self) -> str:
        """The partial correlation with its interval."""
        if np.isnan(self.partial):
            return ""
        return f"{number(self.partial)} [{number(self.low)}, {number(self.high)}]"


def transfer(ours: Floats, theirs: Floats, tokens: Floats, *, seed: int = 42) -> Transfer:
    """Compare two rankings of the same rows, given how many tokens each answer has."""
    found = compare(ours, theirs, tokens=tokens, ratios=(LOWEST,))
    columns = [np.unique(values, return_inverse=True)[1] for values in (ours, theirs, tokens)]
    draw = np.random.default_rng(seed)
    partials = [_resampled(columns, draw) for _ in range(RESAMPLES)]
    low, high = np.percentile(partials, LEVEL)
    return Transfer(
        spearman=found.spearman.value,
        partial=found.partial.value,
        low=float(low),
        high=float(high),
    )


def _resampled(columns: list[npt.NDArray[np.int64]], draw: np.random.Generator) -> float:
    num_rows = len(columns[0])
    weights = np.bincount(draw.integers(num_rows, size=num_rows), minlength=num_rows).astype(float)
    ranks = [_weighted_ranks(levels, weights) for levels in columns]
    return _partial(np.cov(np.array(ranks), aweights=weights))


def _weighted_ranks(levels: npt.NDArray[np.int64], weights: Floats) -> Floats:
    """Mean ranks of values, given as levels from 0 on, where each stands as often as its weight says."""
    totals = np.bincount(levels, weights=weights)
    ranks = np.cumsum(totals) - (totals - 1) / 2
    return np.asarray(ranks[levels])


def _partial(covariance: Floats) -> float:
    """The correlation of the first two variables given the third."""
    scale = np.sqrt(np.diag(covariance))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = covariance / np.outer(scale, scale)
        partial = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    return float(partial)
