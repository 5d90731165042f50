"""Selection by score: the best, the worst, or a random part of the scored rows.

    k = floor(ratio * rows read)        in exact arithmetic: 0.29 of 100 rows are 29, which binary fractions miss

Filters come before k; if they leave fewer rows, fewer are selected. Every row that is not selected was taken by
exactly one rule, the first that applies, and the counts add up to the rows read. Ties break by row number; the same
request selects the same rows, and of two requests that differ in k alone the larger contains the smaller.

    top       scores of 1 and more are dropped (the prompt misleads), then highest first
    bottom    lowest first, without rows that the proxy did not learn
    random    the baseline: a seeded draw from the scored rows
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from winnow.errors import InvalidOption
from winnow.records.example import Flag
from winnow.scores import FLAG_BITS, ScoreTable
from winnow.spec import Method

Strategy = Literal["top", "bottom", "random"]
Order = Literal["original", "score"]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

DEFAULT_STRATEGY: dict[Method, Strategy] = {"ifd": "top"}
MISLEADING = 1.0
"""From this IFD on the prompt makes the answer less likely: prompt and answer do not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A checked request for a part of the rows; exactly one of `ratio` and `count` is set."""

    strategy: Strategy
    ratio: Decimal | None = None
    count: int | None = None
    min_score: float | None = None
    max_score: float | None = None
    include_unlearned: bool = False
    seed: int = 42
    order: Order = "original"

    @classmethod
    def make(
        cls,
        *,
        method: Method = "ifd",
        strategy: str | None = None,
        ratio: Decimal | float | str | None = None,
        count: int | None = None,
        min_score: float | None = None,
        max_score: float | None = None,
        include_unlearned: bool = False,
        seed: int = 42,
        order: str = "original",
    ) -> Self:
        """Check the options; a strategy of None is the method's own.

        Raises:
            InvalidOption: names the option, and what it may be.
        """
        if (ratio is None) == (count is None):
            raise InvalidOption("Give exactly one of ratio and count.", param="ratio")
        if count is not None and count < 1:
            raise InvalidOption(f"count must be at least 1; got {count}.", param="count")
        _check_bounds(min_score, max_score)
        if not 0 <= seed < 2**64:
            raise InvalidOption(f"seed must be from 0 to 2**64 - 1; got {seed}.", param="seed")
        return cls(
            strategy=_choice("strategy", strategy or DEFAULT_STRATEGY[method], Strategy),
            ratio=None if ratio is None else _ratio(ratio),
            count=count,
            min_score=min_score,
            max_score=max_score,
            include_unlearned=include_unlearned,
            seed=seed,
            order=_choice("order", order, Order),
        )

    def as_dict(self) -> dict[str, Any]:
        """The request as plain values, for JSON; the ratio as a decimal string."""
        values = asdict(self)
        return values | {"ratio": None if self.ratio is None else str(self.ratio)}

    def num_wanted(self, rows_read: int) -> int:
        """k: how many rows are wanted of so many read."""
        if self.count is not None:
            return self.count
        return math.floor(Fraction(self.ratio or 0) * rows_read)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The rows of a selection.

    `rows` are row numbers in the order asked for; `len(rows) + sum(taken_by_rule.values()) == rows_read`; `threshold`
    is the last score that got in, None if none did or the draw was random.
    """

    rows: Rows
    rows_read: int
    k: int
    taken_by_rule: dict[str, int]
    threshold: float | None


def select(scores: ScoreTable, selection: Selection) -> Selected:
    """Select rows; `scores` needs the columns `SELECTION_COLUMNS`."""
    remaining = np.ones(len(scores), dtype=np.bool_)
    taken: dict[str, int] = {}
    for rule, removes in _rules(scores, selection):
        taken[rule] = int(np.count_nonzero(remaining & removes))
        remaining &= ~removes
    k = selection.num_wanted(len(scores))
    candidates = np.flatnonzero(remaining)
    chosen = candidates[_smallest(_keys(scores, selection)[candidates], k)]
    taken["beyond_k"] = len(candidates) - len(chosen)
    return Selected(
        rows=scores.row[_arrange(chosen, scores, selection)],
        rows_read=len(scores),
        k=k,
        taken_by_rule=taken,
        threshold=_threshold(scores.score[chosen], selection),
    )


def _rules(scores: ScoreTable, selection: Selection) -> list[tuple[str, Mask]]:
    score = scores.score
    rules: list[tuple[str, Mask]] = [("rejected", np.isnan(score))]
    if selection.strategy == "top":
        rules.append(("score_at_least_1", score >= MISLEADING))
    if selection.strategy == "bottom" and not selection.include_unlearned:
        rules.append(("unlearned", (scores.flags & FLAG_BITS[Flag.UNLEARNED]) != 0))
    if selection.min_score is not None:
        rules.append(("min_score", score < selection.min_score))
    if selection.max_score is not None:
        rules.append(("max_score", score > selection.max_score))
    return rules


def _keys(scores: ScoreTable, selection: Selection) -> npt.NDArray[Any]:
    """A number for every row, smallest first."""
    if selection.strategy == "random":
        # Raw draws are the part of NumPy's generators that never changes between versions. One for every row read, so
        # that a filter does not move the draw of the rows it leaves.
        return np.random.PCG64(selection.seed).random_raw(len(scores))
    return -scores.score if selection.strategy == "top" else scores.score


def _smallest(keys: npt.NDArray[Any], k: int) -> Rows:
    """Positions of the k smallest keys, ascending; among equal keys the earlier position wins. Linear time."""
    if k >= len(keys):
        return np.arange(len(keys))
    if k == 0:
        return np.arange(0)
    last = np.partition(keys, k - 1)[k - 1]
    below = np.flatnonzero(keys < last)
    level = np.flatnonzero(keys == last)[: k - len(below)]
    return np.sort(np.concatenate([below, level]))


def _arrange(chosen: Rows, scores: ScoreTable, selection: Selection) -> Rows:
    if selection.order == "original":
        return chosen
    score = scores.score[chosen]
    ranked = score if selection.strategy == "bottom" else -score
    return chosen[np.lexsort((chosen, ranked))]


def _threshold(chosen_scores: npt.NDArray[np.float64], selection: Selection) -> float | None:
    if not len(chosen_scores) or selection.strategy == "random":
        return None
    last = chosen_scores.min() if selection.strategy == "top" else chosen_scores.max()
    return float(last)


def _ratio(value: Decimal | float | str) -> Decimal:
    try:
        ratio = Decimal(str(value))
    except InvalidOperation:
        ratio = Decimal(0)
    if not (ratio.is_finite() and 0 < ratio <= 1):
        raise InvalidOption(f"ratio must be above 0 and at most 1; got {value!r}.", param="ratio")
    return ratio


def _check_bounds(min_score: float | None, max_score: float | None) -> None:
    for name, bound in (("min_score", min_score), ("max_score", max_score)):
        if bound is not None and not math.isfinite(bound):
            raise InvalidOption(f"{name} must be a finite number; got {bound}.", param=name)
    if min_score is not None and max_score is not None and min_score > max_score:
        raise InvalidOption(
            f"min_score {min_score} is above max_score {max_score}.", param="min_score"
        )


def _choice(name: str, value: str, allowed: Any) -> Any:
    if value not in get_args(allowed):
        choices = ", ".join(get_args(allowed))
        raise InvalidOption(f"{name} must be one of {choices}; got {value!r}.", param=name)
    return value
