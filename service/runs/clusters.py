"""The clusters of a run: their sizes, their scores, and what the proxy's losses did in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from service.resources import Resources
from service.runs.columns import Floats, score_columns
from winnow.errors import NotFound
from winnow.scores import NO_CLUSTER, SCORE_DECIMALS
from winnow.selection.groups import Labels, members
from winnow.store.losses import LossFiles
from winnow.store.runs import Run
from winnow.store.trajectories import KeptCheckpoint, list_trajectory_checkpoints

MAX_CLUSTERS = 1_000
SAMPLE_BLOCKS = 16
"""Their losses are a file for each checkpoint and block, and all of them would be thousands."""


class ClusterView(BaseModel):
    """The rows of one cluster; scores are of its scored rows. `GET /runs/{id}/rows?cluster=` lists them."""

    cluster: int
    rows: int
    mean_score: float | None
    min_score: float | None
    max_score: float | None
    losses: list[float] | None = Field(
        description="Mean loss in nats per token after each of `steps`; null if none of its rows is in the sample, or "
        "the losses are gone."
    )


class ClusterList(BaseModel):
    """The largest clusters first, `num_clusters` in all, of which no more than 1,000 are told; none if a run has none.

    `steps` are those of the trajectory that s2l clusters, null for other methods and once the trajectory was deleted;
    losses are means over `rows_sampled` rows, which are all rows of a small dataset and evenly spread blocks of a large
    one.
    """

    object: Literal["list"] = "list"
    run: str
    data: list[ClusterView]
    num_clusters: int
    unclustered: int = Field(description="Rows in no cluster: those that were rejected.")
    steps: list[int] | None
    rows_sampled: int | None


def describe(resources: Resources, run: Run) -> ClusterList:
    """The clusters of a completed run; those of s2l with the losses that the proxy had in them."""
    scores = score_columns(resources, run)
    labels = scores.labels("cluster")
    groups = [group for group in members(labels) if labels[group[0]] != NO_CLUSTER]
    groups.sort(key=lambda group: (-len(group), labels[group[0]]))
    curves = _read_curves(resources, run, labels) if groups and run.method == "s2l" else None
    told = [(int(labels[group[0]]), scores.score[group]) for group in groups[:MAX_CLUSTERS]]
    return ClusterList(
        run=run.id,
        data=[_view(cluster, score, curves) for cluster, score in told],
        num_clusters=len(groups),
        unclustered=int(np.count_nonzero(labels == NO_CLUSTER)),
        steps=curves and curves.steps,
        rows_sampled=curves and curves.num_rows,
    )


def _read_curves(resources: Resources, run: Run, labels: Labels) -> _Curves | None:
    """The losses of the clusters; None if the trajectory was deleted, also in this moment."""
    try:
        return _Curves(resources, run, labels)
    except (NotFound, FileNotFoundError):
        return None


class _Curves:
    """Mean losses of clusters at the points of a trajectory, from evenly spread blocks of rows."""

    def __init__(self, resources: Resources, run: Run, labels: Labels) -> None:
        assert run.trajectory_id is not None, "s2l has one"  # noqa: S101
        with resources.database.transaction() as connection:
            kept = list_trajectory_checkpoints(
                connection, owner=run.owner, trajectory_id=run.trajectory_id
            )
        points = [checkpoint for checkpoint in kept if checkpoint.point]
        files = LossFiles(blobs=resources.blobs, trajectory_id=run.trajectory_id)
        blocks = _spread(run.blocks or 0)
        self.steps = [checkpoint.step for checkpoint in points]
        # The last column counts the rows that the others are sums over.
        self._sums = resources.kept.get(
            ("curves", run.id), lambda: _sums(files, points, blocks, labels)
        )

    @property
    def num_rows(self) -> int:
        return int(self._sums[:, -1].sum())

    def of(self, cluster: int) -> list[float] | None:
        *sums, count = self._sums[cluster].tolist()
        return [round(total / count, SCORE_DECIMALS) for total in sums] if count else None


def _sums(
    files: LossFiles, points: Sequence[KeptCheckpoint], blocks: Sequence[int], labels: Labels
) -> Floats:
    sums = np.zeros((int(labels.max()) + 1, len(points) + 1))
    for block in blocks:
        losses = files.read(points, block)
        clustered = labels[losses.rows] != NO_CLUSTER
        curves = losses.curves[clustered]
        counted = np.column_stack([curves, np.ones(len(curves))])
        np.add.at(sums, labels[losses.rows[clustered]], counted)
    return sums


def _spread(num_blocks: int) -> list[int]:
    parts = min(num_blocks, SAMPLE_BLOCKS)
    return [part * num_blocks // parts for part in range(parts)]


def _view(cluster: int, score: Floats, curves: _Curves | None) -> ClusterView:
    scored = score[~np.isnan(score)]
    return ClusterView(
        cluster=cluster,
        rows=len(score),
        mean_score=_rounded(scored.mean()) if len(scored) else None,
        min_score=_rounded(scored.min()) if len(scored) else None,
        max_score=_rounded(scored.max()) if len(scored) else None,
        losses=curves and curves.of(cluster),
    )


def _rounded(number: float) -> float:
    return round(float(number), SCORE_DECIMALS)
