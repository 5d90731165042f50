"""A sample of the rows of a run as points, for a picture of one number against another."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel

from service.resources import Resources
from service.runs.columns import Column, dataset_sources, numbers, score_columns
from winnow.scores import SCORE_DECIMALS
from winnow.store.runs import Run

MAX_POINTS = 20_000


class Points(BaseModel):
    """Of `scored` rows those that were drawn, in row order; `source` is null if no row names one."""

    object: Literal["run.points"] = "run.points"
    run: str
    x_column: Column
    y_column: Column
    scored: int
    row: list[int]
    x: list[float]
    y: list[float]
    source: list[str | None] | None


def draw(resources: Resources, run: Run, *, x: Column, y: Column, limit: int, seed: int) -> Points:
    """At most `limit` scored rows of a completed run, each as likely as any other that has both numbers."""
    scores = score_columns(resources, run)
    across, up = numbers(scores, x), numbers(scores, y)
    usable = np.flatnonzero(~np.isnan(scores.score + across + up))
    # A draw for every row, not for every usable one: other columns then show the same rows, as far as these have them.
    draws = np.random.PCG64(seed).random_raw(len(scores))[usable]
    rows = np.sort(usable[np.argsort(draws)[:limit]])
    sources = dataset_sources(resources, run.dataset_id)
    return Points(
        run=run.id,
        x_column=x,
        y_column=y,
        scored=scores.num_scored,
        row=rows.tolist(),
        x=np.round(across[rows], SCORE_DECIMALS).tolist(),
        y=np.round(up[rows], SCORE_DECIMALS).tolist(),
        source=[sources.of(row) for row in rows.tolist()] if sources.named else None,
    )
