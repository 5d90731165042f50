"""Selection by score: the best, the worst, or a random part of the scored rows.

    k = floor(ratio * rows read)        in exact arithmetic: 0.29 of 100 rows are 29, which binary fractions miss

Filters come before k; if they leave fewer rows, fewer are selected. Every row that is not selected was taken by
exactly one rule, the first that applies, and the counts add up to the rows read. Ties break by row number; the same
request selects the same rows, and of two requests that differ in k alone the larger contains the smaller.

    top       scores of 1 and more are dropped (the prompt misleads), then highest first
    bottom    lowest first, without rows that the proxy did not learn
    random    the baseline: a seeded draw from the scored rows

A selection may be shared out first: `per=source` takes equal parts from the sources, as far as each has rows;
`stratify` keeps the proportions that sources, or tenths of answer length, have among the rows that the filters leave.
The strategy then chooses within each group.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.errors import InvalidOption
from winnow.records.example import Flag
from winnow.scores import FLAG_BITS, SELECTION_COLUMNS, ScoreTable
from winnow.selection.groups import (
    equal_shares,
    largest_remainder,
    length_labels,
    members,
    source_labels,
)
from winnow.spec import Method

Strategy = Literal["top", "bottom", "random"]
Order = Literal["original", "score"]
Per = Literal["source"]
Stratify = Literal["length", "source"]
Sources = Callable[[], pa.ChunkedArray]
"""Reads the source of every row, in row order, when a selection asks for it."""
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

DEFAULT_STRATEGY: dict[Method, Strategy] = {"ifd": "top"}
MAX_RATIO_DIGITS = 20
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
    per: Per | None = None
    stratify: Stratify | None = None

    @classmethod
    def make(
        cls,
        *,
        method: Method = "ifd",
        strategy: str | None = None,
        ratio: Decimal | float | str | None = None,
        **options: Any,
    ) -> Self:
        """Check the options, which are the fields; None means the default, a strategy of None the method's own.

        Raises:
            InvalidOption: names the option, and what it may be.
        """
        selection = cls(
            strategy=strategy or DEFAULT_STRATEGY[method],  # type: ignore[arg-type]  # checked next
            ratio=None if ratio is None else _ratio(ratio),
            **{name: value for name, value in options.items() if value is not None},
        )
        selection._check()
        return selection

    def _check(self) -> None:
        if (self.ratio is None) == (self.count is None):
            raise InvalidOption("Give exactly one of ratio and count.", param="ratio")
        if self.count is not None and self.count < 1:
            raise InvalidOption(f"count must be at least 1; got {self.count}.", param="count")
        _check_bounds(self.min_score, self.max_score)
        if not 0 <= self.seed < 2**64:
            raise InvalidOption(f"seed must be from 0 to 2**64 - 1; got {self.seed}.", param="seed")
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                choices = ", ".join(str(one) for one in allowed if one is not None)
                raise InvalidOption(f"{name} must be one of {choices}; got {value!r}.", param=name)
        if self.per is not None and self.per == self.stratify:
            raise InvalidOption(
                "per=source takes equal parts and stratify=source proportional ones: choose one.",
                param="stratify",
            )

    def as_dict(self) -> dict[str, Any]:
        """The request as plain values, for JSON; the ratio as a decimal string."""
        values = asdict(self)
        return values | {"ratio": None if self.ratio is None else str(self.ratio)}

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the scores that this selection reads."""
        more = ("tokens_conditioned",) if self.stratify == "length" else ()
        return (*SELECTION_COLUMNS, *more)

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


def select(scores: ScoreTable, selection: Selection, *, sources: Sources) -> Selected:
    """Select rows; `scores` needs `selection.columns`, and `sources` is called only if the selection is by source."""
    remaining = np.ones(len(scores), dtype=np.bool_)
    taken: dict[str, int] = {}
    for rule, removes in _rules(scores, selection):
        taken[rule] = int(np.count_nonzero(remaining & removes))
        remaining &= ~removes
    k = selection.num_wanted(len(scores))
    candidates = np.flatnonzero(remaining)
    keys = _keys(scores, selection)
    parts = [
        group[_smallest(keys[group], share)]
        for group, share in _shares(candidates, k, scores, selection, sources)
    ]
    chosen = np.sort(np.concatenate([candidates[:0], *parts]))
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


def _shares(
    candidates: Rows, k: int, scores: ScoreTable, selection: Selection, sources: Sources
) -> list[tuple[Rows, int]]:
    """Groups of candidates, and how many rows each gives."""
    groups = [(candidates, k)]
    if "source" in {selection.per, selection.stratify}:
        by_source = [candidates[group] for group in members(source_labels(sources())[candidates])]
        share_out = equal_shares if selection.per else largest_remainder
        groups = list(
            zip(by_source, share_out([len(group) for group in by_source], k), strict=True)
        )
    if selection.stratify == "length":
        groups = [part for group, share in groups for part in _by_length(group, share, scores)]
    return groups


def _by_length(group: Rows, share: int, scores: ScoreTable) -> list[tuple[Rows, int]]:
    strata = [group[at] for at in members(length_labels(scores.answer_tokens[group]))]
    shares = largest_remainder([len(stratum) for stratum in strata], share)
    return list(zip(strata, shares, strict=True))


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
    # Exact arithmetic on 1e-999999999 would compute a number of a billion digits.
    if ratio.adjusted() < -MAX_RATIO_DIGITS or len(ratio.as_tuple().digits) > MAX_RATIO_DIGITS:
        raise InvalidOption(
            f"ratio has more than {MAX_RATIO_DIGITS} digits behind the point; round it.",
            param="ratio",
        )
    return ratio


def _check_bounds(min_score: float | None, max_score: float | None) -> None:
    for name, bound in (("min_score", min_score), ("max_score", max_score)):
        if bound is not None and not math.isfinite(bound):
            raise InvalidOption(f"{name} must be a finite number; got {bound}.", param=name)
    if min_score is not None and max_score is not None and min_score > max_score:
        raise InvalidOption(
            f"min_score {min_score} is above max_score {max_score}.", param="min_score"
        )


_CHOICES: dict[str, tuple[str | None, ...]] = {
    "strategy": get_args(Strategy),
    "order": get_args(Order),
    "per": (None, *get_args(Per)),
    "stratify": (None, *get_args(Stratify)),
}
