"""Selection from the scored rows: the best, the worst, a random part, or one that spreads over the data.

    k = floor(ratio * rows read)        in exact arithmetic: 0.29 of 100 rows are 29, which binary fractions miss

Filters come before k; if they leave fewer rows, fewer are selected. Every row that is not selected was taken by
exactly one rule, the first that applies, and the counts add up to the rows read. Ties break by row number, and the same
request selects the same rows.

    top                 highest first; of IFD, scores of 1 and more are dropped (the prompt misleads)
    bottom              lowest first, without rows that the proxy did not learn
    random              the baseline: a seeded draw from the scored rows
    cluster_bottom      the lowest of every cluster, without rows that the proxy did not learn
    cluster_balanced    equally many from every cluster, drawn at random
    facility_location   representatives of the best rows, by their embeddings (Superfiltering.D, Li et al. 2024,
                        arXiv 2402.00530): of the max(floor(pool_ratio * rows read), k) that top or bottom would take

A selection may be shared out first: `per=source` takes equal parts from the sources, as far as each has rows;
`stratify` keeps the proportions that sources, or tenths of answer length, have among the rows that the filters leave.
The strategy then chooses within each group, per source among clusters of that source alone.

`quota=per_cluster` is the published rounding of cluster_bottom (`winnow.selection.clusters`): a ratio of each cluster,
rounded up, so of all rows it takes more than k.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.records.example import Flag
from winnow.scores import FLAG_BITS, NO_CLUSTER, ScoreTable
from winnow.selection.clusters import cluster_balanced, cluster_bottom, cluster_bottom_published
from winnow.selection.facility_location import facility_location
from winnow.selection.groups import (
    Labels,
    equal_shares,
    largest_remainder,
    length_labels,
    members,
    source_labels,
)
from winnow.selection.request import (
    CLUSTER_STRATEGIES,
    DEFAULT_STRATEGY,
    DRAWING_STRATEGIES,
    Order,
    Per,
    Quota,
    Selection,
    Strategy,
    Stratify,
    needs_work,
    no_clusters,
    no_embeddings,
    no_sources,
)

__all__ = [
    "DEFAULT_STRATEGY",
    "Order",
    "Per",
    "Points",
    "Quota",
    "Rows",
    "Selected",
    "Selection",
    "Sources",
    "Strategy",
    "Stratify",
    "arranged",
    "needs_work",
    "select",
]

Sources = Callable[[], pa.ChunkedArray]
"""Reads the source of every row, in row order, when a selection asks for it."""
Points = Callable[[], npt.NDArray[np.float32]]
"""Reads what `winnow.embedding.comparable` makes of the embeddings of all rows, when a selection asks for it."""
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MISLEADING = 1.0
"""From this IFD on the prompt makes the answer less likely: prompt and answer do not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The rows of a selection.

    `rows` are row numbers in the order asked for; `len(rows) + sum(taken_by_rule.values()) == rows_read`. `threshold`
    is the last score that got in, and of the rows that have it `threshold_row` is the last that got in: those with a
    higher number were beyond k. Both are None if no row got in or scores alone did not decide.
    """

    rows: Rows
    rows_read: int
    k: int
    taken_by_rule: dict[str, int]
    threshold: float | None
    threshold_row: int | None = None


def select(
    scores: ScoreTable, selection: Selection, *, sources: Sources, points: Points | None = None
) -> Selected:
    """Select rows; `scores` needs `selection.columns`, and `sources` and `points` are called only if they are needed.

    Raises:
        InvalidOption: the run has no clusters or no embeddings, and the strategy needs them.
    """
    chooser = _Chooser(scores, selection, points)
    remaining = np.ones(len(scores), dtype=np.bool_)
    taken: dict[str, int] = {}
    for rule, removes in [*_rules(scores, selection), *chooser.rules()]:
        taken[rule] = int(np.count_nonzero(remaining & removes))
        remaining &= ~removes
    k = selection.num_wanted(len(scores))
    candidates = np.flatnonzero(remaining)
    parts = [
        group[chooser.choose(group, share, of=len(candidates))]
        for group, share in _shares(candidates, k, scores, selection, sources)
    ]
    chosen = np.sort(np.concatenate([candidates[:0], *parts]))
    taken["beyond_k"] = len(candidates) - len(chosen)
    last = _last(scores.score[chosen], selection)
    return Selected(
        rows=scores.row[_arrange(chosen, scores, selection)],
        rows_read=len(scores),
        k=k,
        taken_by_rule=taken,
        threshold=None if last is None else float(scores.score[chosen[last]]),
        threshold_row=None if last is None else int(scores.row[chosen[last]]),
    )


def arranged(selected: Selected, scores: ScoreTable, selection: Selection) -> Selected:
    """The same rows in the order that `selection` asks for; `scores` are all rows of the run, by row."""
    at = np.searchsorted(scores.row, np.sort(selected.rows))
    return replace(selected, rows=scores.row[_arrange(at, scores, selection)])


def _rules(scores: ScoreTable, selection: Selection) -> list[tuple[str, Mask]]:
    score = scores.score
    rules: list[tuple[str, Mask]] = [("rejected", np.isnan(score))]
    by_score = selection.strategy not in DRAWING_STRATEGIES
    if by_score and not selection.lowest_first and selection.method == "ifd":
        rules.append(("score_at_least_1", score >= MISLEADING))
    if by_score and selection.lowest_first and not selection.include_unlearned:
        rules.append(("unlearned", (scores.flags & FLAG_BITS[Flag.UNLEARNED]) != 0))
    if selection.min_score is not None:
        rules.append(("min_score", score < selection.min_score))
    if selection.max_score is not None:
        rules.append(("max_score", score > selection.max_score))
    return rules


class _Chooser:
    """What a strategy reads of a run, and its choice within a group of rows."""

    def __init__(self, scores: ScoreTable, selection: Selection, points: Points | None) -> None:
        self._selection = selection
        self._num_rows = len(scores)
        self._keys = _keys(scores, selection)
        self._labels = (
            _labels(scores, selection) if selection.strategy in CLUSTER_STRATEGIES else None
        )
        self._points = _points(points) if selection.strategy == "facility_location" else None

    def rules(self) -> list[tuple[str, Mask]]:
        """Rows that lack what the strategy goes by."""
        rules: list[tuple[str, Mask]] = []
        if self._labels is not None:
            rules.append(("no_cluster", self._labels == NO_CLUSTER))
        if self._points is not None:
            rules.append(("no_embedding", np.isnan(self._points.sum(axis=1))))
        return rules

    def choose(self, group: Rows, k: int, *, of: int) -> Rows:
        """Positions in `group`, a part of the `of` rows that rules leave: k of them, but for a published rounding."""
        keys = self._keys[group]
        if self._labels is not None:
            return self._of_clusters(keys, self._labels[group], k)
        if self._points is not None:
            of_all = Fraction(self._selection.pool_ratio or 0) * self._num_rows
            pool = _smallest(keys, max(math.floor(of_all * len(group) / max(1, of)), k))
            return pool[np.sort(facility_location(self._points[group[pool]], k))]
        return _smallest(keys, k)

    def _of_clusters(self, keys: npt.NDArray[Any], labels: Labels, k: int) -> Rows:
        if self._selection.strategy == "cluster_balanced":
            return cluster_balanced(keys, labels, k)
        if self._selection.quota is not None:
            return cluster_bottom_published(keys, labels, Fraction(self._selection.ratio or 0))
        return cluster_bottom(keys, labels, k)


def _keys(scores: ScoreTable, selection: Selection) -> npt.NDArray[Any]:
    """A number for every row, smallest first."""
    if selection.strategy in DRAWING_STRATEGIES:
        # Raw draws are the part of NumPy's generators that never changes between versions. One for every row read, so
        # that a filter does not move the draw of the rows it leaves.
        return np.random.PCG64(selection.seed).random_raw(len(scores))
    return scores.score if selection.lowest_first else -scores.score


def _labels(scores: ScoreTable, selection: Selection) -> Labels:
    """The clusters to choose from. Where there is one source only, its clusters are those of all rows."""
    labels = scores.labels("cluster_in_source" if selection.per else "cluster")
    if selection.per and (labels == NO_CLUSTER).all():
        labels = scores.labels("cluster")
    if scores.num_scored and (labels == NO_CLUSTER).all():
        raise no_clusters(selection.strategy)
    return labels


def _points(points: Points | None) -> npt.NDArray[np.float32]:
    if points is None:
        raise no_embeddings()
    return points()


def _shares(
    candidates: Rows, k: int, scores: ScoreTable, selection: Selection, sources: Sources
) -> list[tuple[Rows, int]]:
    """Groups of candidates, and how many rows each gives."""
    groups = [(candidates, k)]
    if "source" in {selection.per, selection.stratify}:
        by_source = [
            candidates[group] for group in members(_by_name(sources(), selection)[candidates])
        ]
        share_out = equal_shares if selection.per else largest_remainder
        groups = list(
            zip(by_source, share_out([len(group) for group in by_source], k), strict=True)
        )
    if selection.stratify == "length":
        groups = [part for group, share in groups for part in _by_length(group, share, scores)]
    return groups


def _by_name(sources: pa.ChunkedArray, selection: Selection) -> Labels:
    if len(sources) and sources.null_count == len(sources):
        raise no_sources("per" if selection.per else "stratify")
    return source_labels(sources)


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
    return chosen[np.lexsort((chosen, score if selection.lowest_first else -score))]


def _last(chosen_scores: npt.NDArray[np.float64], selection: Selection) -> int | None:
    """The place of the row that got in last, where scores alone decide; among equal scores that is the last one."""
    shared_out = selection.per is not None or selection.stratify is not None
    if not len(chosen_scores) or shared_out or selection.strategy not in {"top", "bottom"}:
        return None
    last = chosen_scores.max() if selection.lowest_first else chosen_scores.min()
    return int(np.flatnonzero(chosen_scores == last)[-1])
