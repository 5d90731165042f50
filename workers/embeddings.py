"""Embeddings of a run in the blob store, a NumPy file a block: `runs/{id}/embeddings/{block:08d}.npy`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from winnow.embedding import Matrix
from winnow.store.blobs import Blobs


@dataclass(frozen=True, kw_only=True)
class EmbeddingFiles:
    """The embeddings of one run."""

    blobs: Blobs
    run_id: str

    def write(self, block: int, embeddings: Matrix) -> None:
        """Store those of a block, in the place of those that may be there."""
        with self.blobs.write(self._path(block)) as file:
            np.save(file, embeddings, allow_pickle=False)

    def read(self, num_blocks: int) -> Matrix:
        """Those of all rows, of shape (rows, dimensions); NaNs where a row has none."""
        return np.concatenate([self._block(block) for block in range(num_blocks)])

    def _block(self, block: int) -> Matrix:
        with self.blobs.open_read(self._path(block)) as file:
            return np.asarray(np.load(file, allow_pickle=False), dtype=np.float32)

    def _path(self, block: int) -> str:
        return f"runs/{self.run_id}/embeddings/{block:08d}.npy"
