"""The sources of a dataset as a run scored them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field

from service.resources import Resources
from service.runs.columns import Floats, dataset_sources, score_columns
from winnow.scores import SCORE_DECIMALS
from winnow.selection.ratio import MISLEADING
from winnow.spec import Method
from winnow.store.runs import Run

MAX_SOURCES = 100
QUANTILES = (5, 25, 50, 75, 95)
"""In percent."""


class SourceView(BaseModel):
    """The rows of one source; null collects those that name none, among them all that could not be read.

    `quantiles` are of scores, by percent. Means and quantiles are null where no row is scored.
    """

    source: str | None
    rows: int
    scored: int
    rejected: int
    mean_score: float | None
    quantiles: dict[str, float] | None = Field(
        examples=[{"5": 0.4, "25": 0.6, "50": 0.7, "75": 0.8, "95": 0.9}]
    )
    share_at_least_1: float | None = Field(description="Of the scored rows; of ifd only.")
    mean_tokens: float | None = Field(description="Of the answers of scored rows.")


class SourceList(BaseModel):
    """The largest sources first, `num_sources` in all; no more than 100 are told."""

    object: Literal["list"] = "list"
    run: str
    data: list[SourceView]
    num_sources: int


def compare(resources: Resources, run: Run) -> SourceList:
    """What each of the largest sources scored in a completed run; one entry without a name if no row names one."""
    scores = score_columns(resources, run)
    tokens = scores.answer_tokens
    sources = dataset_sources(resources, run.dataset_id)
    found = sources.largest(len(sources.names) + 1)
    return SourceList(
        run=run.id,
        data=[
            _view(
                source,
                scores.score[sources.codes == code],
                tokens[sources.codes == code],
                run.method,
            )
            for source, code in found[:MAX_SOURCES]
        ],
        num_sources=len(found),
    )


def _view(source: str | None, score: Floats, tokens: Floats, method: Method) -> SourceView:
    scored = score[~np.isnan(score)]
    counts = {"rows": len(score), "scored": len(scored), "rejected": len(score) - len(scored)}
    if not len(scored):
        return SourceView(
            source=source,
            **counts,
            mean_score=None,
            quantiles=None,
            share_at_least_1=None,
            mean_tokens=None,
        )
    levels = np.percentile(scored, QUANTILES).tolist()
    return SourceView(
        source=source,
        **counts,
        mean_score=_rounded(scored.mean()),
        quantiles={
            str(percent): _rounded(level) for percent, level in zip(QUANTILES, levels, strict=True)
        },
        share_at_least_1=_rounded((scored >= MISLEADING).mean()) if method == "ifd" else None,
        mean_tokens=_rounded(np.nanmean(tokens)),
    )


def _rounded(number: np.floating[Any] | float) -> float:
    return round(float(number), SCORE_DECIMALS)
