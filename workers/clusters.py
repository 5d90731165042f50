"""The clusters of a run, from what its scoring left in the blob store; of a large run they take minutes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from winnow.records.blocks import BlockReader
from winnow.selection.cluster_rows import cluster_columns
from winnow.store.blobs import Blobs
from winnow.store.losses import LossFiles
from winnow.store.runs import Run
from winnow.store.trajectories import KeptCheckpoint
from workers.embeddings import EmbeddingFiles

Clusters = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]
"""The columns `cluster` and `cluster_in_source`."""


def clusters_of_losses(
    blobs: Blobs, run: Run, files: LossFiles, kept: Sequence[KeptCheckpoint]
) -> Clusters:
    """Those of an S2L run, from its losses at the points of its trajectory."""
    curves = [files.read(kept, block).curves for block in range(run.blocks or 0)]
    return cluster_columns(np.concatenate(curves), run.spec, _reader(blobs, run).sources())


def clusters_of_embeddings(blobs: Blobs, run: Run) -> Clusters:
    """Those of a run whose rows are embedded."""
    embeddings = EmbeddingFiles(blobs=blobs, run_id=run.id).read(run.blocks or 0)
    return cluster_columns(embeddings, run.spec, _reader(blobs, run).sources())


def _reader(blobs: Blobs, run: Run) -> BlockReader:
    return BlockReader(*blobs.folder(f"datasets/{run.dataset_id}/rows"))
