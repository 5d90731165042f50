"""What a row's scores mean to an annotator: a number to sort by, a choice, and the values behind both.

    method                sort score          hard rows have
    --------------------  ------------------  -----------------------------------------
    ifd                   s / (1 + s)         high IFD; 1, the prompt does not help, is 0.5
    learning_percentage   1 / (1 + exp(s))    low LP: learned late
    s2l                   s / (1 + s)         high mean loss along the fine-tune

    choice   the row
    -------  -----------------------------------------------------------------------------------
    check    was rejected, is misleading (IFD of 1 and more), was unlearned, or its answer is blank
    keep     is as hard as the last row of the selection, or harder
    drop     is easier

Not covered: which rows a selection takes (`winnow.selection`); strategies that go by more than the score keep others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Literal, get_args

from winnow.methods.learning_percentage import perplexity
from winnow.records.blocks import Rows
from winnow.records.example import Flag
from winnow.scores import ScoreTable, score_members
from winnow.selection.ratio import MISLEADING, select
from winnow.selection.request import LOWEST_FIRST, Selection
from winnow.spec import Method

Choice = Literal["keep", "drop", "check"]
CHOICES: tuple[Choice, ...] = get_args(Choice)

DEFAULT_RATIO = Decimal("0.1")
"""Part of the rows that `keep` stands for unless a ratio is asked for."""

_DOUBTFUL = frozenset({Flag.UNLEARNED, Flag.BLANK_ANSWER})
_DECIMALS = 6

Field = float | int | str | list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is said of one row.

    `score` is in [0, 1], None where nothing ranks the row. `fields` are the raw values by their public names: `score`
    as the method defines it, mean losses in nats per token, perplexities, counts of tokens, flags; or `reason` and
    `detail` of a rejection. Values that the method does not have are absent.
    """

    score: float | None
    choice: Choice
    fields: Mapping[str, Field]


Predictions = Callable[[Rows], Sequence[Prediction]]
"""For a batch of row numbers, what is said of each."""


def sort_score(method: Method, score: float) -> float:
    """A number in [0, 1] that grows as a row gets harder: strictly, as far as floats tell its values apart."""
    if method in LOWEST_FIRST:
        # The form that overflows for no score.
        return math.exp(-score) / (1 + math.exp(-score)) if score > 0 else 1 / (1 + math.exp(score))
    return score / (1 + score)


def verdict(
    method: Method, score: float, flags: Collection[str], *, threshold: float | None
) -> Choice:
    """The choice for a scored row; `threshold` is the easiest score that is kept, None if nothing is."""
    if (method == "ifd" and score >= MISLEADING) or not _DOUBTFUL.isdisjoint(flags):
        return "check"
    if threshold is None:
        return "drop"
    kept = score <= threshold if method in LOWEST_FIRST else score >= threshold
    return "keep" if kept else "drop"


def easiest(method: Method) -> float:
    """The threshold that every score passes, for rows that a selection has taken already."""
    return math.inf if method in LOWEST_FIRST else -math.inf


def keep_threshold(
    scores: ScoreTable, method: Method, *, ratio: Decimal | float | str = DEFAULT_RATIO
) -> float | None:
    """The easiest score among the hardest `ratio` of the rows read; None if no row can be kept.

    `scores` needs `SELECTION_COLUMNS` only.

    Raises:
        InvalidOption: a ratio outside of (0, 1].
    """
    strategy = "bottom" if method in LOWEST_FIRST else "top"
    selection = Selection.make(method=method, strategy=strategy, ratio=ratio)
    return select(scores, selection, sources=_no_sources).threshold


def predict(method: Method, scores: Mapping[str, Any], *, threshold: float | None) -> Prediction:
    """What is said of a row; `scores` is its public form, as `winnow.scores.score_records` makes it."""
    fields = {name: value for name, value in scores.items() if name not in {"row", "status"}}
    score = fields.get("score")
    if score is None:
        return Prediction(score=None, choice="check", fields=fields)
    for kind in ("conditioned", "direct"):
        loss = fields.get(f"loss_{kind}")
        value = math.inf if loss is None else float(perplexity(loss))
        if math.isfinite(value):
            fields[f"perplexity_{kind}"] = round(value, _DECIMALS)
    flags = fields.get("flags", ())
    return Prediction(
        score=None if Flag.UNLEARNED in flags else sort_score(method, score),
        choice=verdict(method, score, flags, threshold=threshold),
        fields=fields,
    )


def predictions_of(scores: ScoreTable, method: Method, *, threshold: float | None) -> Predictions:
    """What is said of the rows of a score table."""
    return partial(_predict_rows, scores, method, threshold)


def _predict_rows(
    scores: ScoreTable, method: Method, threshold: float | None, rows: Rows
) -> list[Prediction]:
    return [predict(method, member, threshold=threshold) for member in score_members(scores, rows)]


def _no_sources() -> Any:
    raise AssertionError("a selection by score alone reads no sources")
