"""How the scores of a run are spread: counts in equal bins, of all rows and of the rows of each source."""

from __future__ import annotations

import math

import numpy as np

from service.runs.columns import Floats, Sources
from service.runs.schemas import Histogram, SourceHistogram
from winnow.errors import InvalidOption
from winnow.scores import ScoreTable
from winnow.store.runs import Run

UPPER_PERCENTILE = 99
"""Where a histogram ends unless told otherwise: the few highest scores would squeeze all others into one bin."""

MAX_SOURCES = 20


def histogram(  # the bins, and what is counted in them
    run: Run,
    table: ScoreTable,
    *,
    bins: int,
    low: float | None,
    high: float | None,
    sources: Sources | None = None,
) -> Histogram:
    """Counts of the scored rows in `bins` equal bins from `low` to `high`; with `sources` also those of the largest.

    Raises:
        InvalidOption: from `low` to `high` is too far, or too near for so many bins, for numbers of 64 bits.
    """
    scored = ~np.isnan(table.score)
    scores = table.score[scored]
    edges = _edges(bins, *_range(scores, low, high))
    return Histogram(
        run=run.id,
        edges=[round(float(edge), 6) for edge in edges],
        counts=_counts(scores, edges),
        below=int(np.count_nonzero(scores < edges[0])),
        above=int(np.count_nonzero(scores > edges[-1])),
        scored=len(scores),
        rejected=len(table) - len(scores),
        by_source=None if sources is None else _by_source(table.score, edges, sources),
    )


def _edges(bins: int, low: float, high: float) -> Floats:
    try:
        if not math.isfinite(high - low):
            raise ValueError  # noqa: TRY301  # NumPy's own words for it are another error and a warning
        return np.histogram_bin_edges([], bins=bins, range=(low, high))
    except ValueError:
        raise InvalidOption(
            f"There are no {bins} equal bins from {low:g} to {high:g} in numbers of 64 bits. Give a min and a max near "
            "the scores, or ask for fewer bins.",
            param="min",
        ) from None


def _by_source(score: Floats, edges: Floats, sources: Sources) -> list[SourceHistogram]:
    found = []
    for source, code in sources.largest(MAX_SOURCES):
        scores = score[(sources.codes == code) & ~np.isnan(score)]
        found.append(
            SourceHistogram(
                source=source,
                counts=_counts(scores, edges),
                below=int(np.count_nonzero(scores < edges[0])),
                above=int(np.count_nonzero(scores > edges[-1])),
                scored=len(scores),
            )
        )
    return found


def _counts(scores: Floats, edges: Floats) -> list[int]:
    # The range, not the edges themselves: equal bins are counted by arithmetic, any others by a search for each score.
    counts, _ = np.histogram(scores, bins=len(edges) - 1, range=(edges[0], edges[-1]))
    return [int(count) for count in counts]


def _range(scores: Floats, low: float | None, high: float | None) -> tuple[float, float]:
    if low is None:
        low = float(scores.min()) if len(scores) else 0.0
    if high is None:
        high = float(np.percentile(scores, UPPER_PERCENTILE)) if len(scores) else low + 1.0
    return low, max(low, high)
