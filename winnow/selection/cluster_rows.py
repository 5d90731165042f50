"""The clusters of a run: of all rows, and of the rows of each source by themselves.

    S2L             trajectories, unscaled, into min(100, distinct rows)             arXiv 2403.07384
    other methods   embeddings, into max(1, min(1000, rows // 50))                   after arXiv 2402.10430

A run is clustered once, when its scores are there; a selection reads the labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.embedding import comparable
from winnow.scores import NO_CLUSTER
from winnow.selection.clusters import kmeans
from winnow.selection.groups import Labels, Positions, members, source_labels
from winnow.spec import RunSpec

S2L_CLUSTERS = 100
ROWS_PER_CLUSTER = 50
MOST_CLUSTERS = 1000
SEEDS = 2**32
"""scikit-learn takes seeds below this."""


def cluster_columns(
    features: npt.NDArray[np.floating[Any]], spec: RunSpec, sources: pa.ChunkedArray | None
) -> tuple[Labels, Labels]:
    """The columns `cluster` and `cluster_in_source` of a run, `NO_CLUSTER` for rows whose features are NaN.

    `features` has a line for every row: `TrajectoryLosses.curves` for S2L, embeddings as they were computed otherwise.
    Only rows of two sources and more have a `cluster_in_source`; a label there belongs to one source.
    """
    points = features if spec.method == "s2l" else comparable(features, spec.embeddings)
    usable = np.flatnonzero(~np.isnan(points.sum(axis=1)))
    of_source = np.zeros(len(usable), dtype=np.int32)
    if sources is not None:
        of_source = source_labels(sources)[usable]
    groups = members(of_source)
    return (
        _labelled(points, [usable], spec),
        _labelled(points, [usable[group] for group in groups] if len(groups) > 1 else [], spec),
    )


def _labelled(
    points: npt.NDArray[np.floating[Any]], groups: list[Positions], spec: RunSpec
) -> Labels:
    """Labels of the rows of each group, counted on from group to group."""
    labels = np.full(len(points), NO_CLUSTER, dtype=np.int32)
    num_before = 0
    for group in groups:
        if not len(group):
            continue
        found = kmeans(
            points[group], num_clusters=_num_clusters(spec, len(group)), seed=spec.seed % SEEDS
        )
        labels[group] = found + num_before
        num_before += int(found.max()) + 1
    return labels


def _num_clusters(spec: RunSpec, num_rows: int) -> int:
    if spec.num_clusters is not None:
        return spec.num_clusters
    if spec.method == "s2l":
        return S2L_CLUSTERS
    return max(1, min(MOST_CLUSTERS, num_rows // ROWS_PER_CLUSTER))
