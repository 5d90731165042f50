"""Selection that spreads over clusters: the lowest of each, or an equal share from each.

    cluster_bottom     the rows with the lowest score of every cluster; a cluster's part of k follows its size
                       (learning percentage, Mekala et al. 2024, arXiv 2402.10430, section 3.2)
    cluster_balanced   clusters of more than two rows, smallest first, each giving `remaining // clusters left` random
                       rows, or all of it; tiny clusters fill what is then left (S2L, Yang et al. 2024, arXiv
                       2403.07384, algorithm 1)

Draws come from the caller and ties break by row, so equal requests select equal rows. Positions in and out are those of
the arrays handed in; which rows those are is the caller's to know.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from winnow.selection.groups import Labels, Positions, equal_shares, largest_remainder, members

Points = npt.NDArray[np.floating[Any]]

TINY_CLUSTER = 2
"""Clusters up to this size are noise to S2L: they give rows only when the others have none left."""
MAX_ITERATIONS = 100


def kmeans(points: Points, *, num_clusters: int, seed: int = 42) -> Labels:
    """The cluster of each point; `points` has shape (rows, dimensions), and never more clusters than distinct rows.

    One thread: scikit-learn adds up centres per thread, so the number of threads would move labels.
    """
    num_clusters = min(num_clusters, num_distinct(points, at_most=num_clusters))
    model = KMeans(num_clusters, n_init=1, max_iter=MAX_ITERATIONS, random_state=seed)
    with threadpool_limits(1):
        return np.asarray(model.fit_predict(points), dtype=np.int32)


def num_distinct(points: Points, *, at_most: int) -> int:
    """How many rows of `points` differ from each other; counting stops at `at_most`."""
    found: set[bytes] = set()
    for point in np.ascontiguousarray(points + 0.0):
        found.add(point.tobytes())
        if len(found) == at_most:
            break
    return max(1, len(found))


def cluster_bottom(scores: npt.NDArray[np.float64], labels: Labels, k: int) -> Positions:
    """Exactly min(k, rows) positions: of every cluster the lowest scores, its number by largest remainder."""
    clusters = members(labels)
    return _lowest(scores, clusters, largest_remainder([len(rows) for rows in clusters], k))


def cluster_bottom_published(
    scores: npt.NDArray[np.float64], labels: Labels, ratio: Fraction
) -> Positions:
    """The published rounding: the first of `round(1 / ratio)` equal chunks of every cluster, longer chunks first."""
    num_chunks = round(1 / ratio)
    clusters = members(labels)
    return _lowest(scores, clusters, [-(-len(rows) // num_chunks) for rows in clusters])


def cluster_balanced(draw: npt.NDArray[np.uint64], labels: Labels, k: int) -> Positions:
    """Min(k, rows) positions taken evenly from clusters, in each those with the lowest numbers of a random `draw`."""
    clusters = members(labels)
    large = [rows for rows in clusters if len(rows) > TINY_CLUSTER]
    tiny = [rows for rows in clusters if len(rows) <= TINY_CLUSTER]
    chosen = _lowest(draw, large, equal_shares([len(rows) for rows in large], k))
    if not tiny:
        return chosen
    rest = np.concatenate(tiny)
    return np.sort(np.concatenate([chosen, _lowest(draw, [rest], [k - len(chosen)])]))


def _lowest(keys: npt.NDArray[Any], clusters: list[Positions], quotas: list[int]) -> Positions:
    chosen = [
        rows[np.argsort(keys[rows], kind="stable")[:quota]]
        for rows, quota in zip(clusters, quotas, strict=True)
    ]
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *chosen]))
