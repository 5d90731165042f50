"""Losses of a trajectory in the blob store: a Parquet file for every block of rows at every checkpoint.

    trajectories/{id}/losses/{position:03d}/{block:08d}.parquet     columns of `winnow.trajectory.LOSS_SCHEMA`

Equal losses are equal bytes, so a block that is evaluated twice is written twice and reads the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.store.blobs import Blobs
from winnow.store.trajectories import KeptCheckpoint
from winnow.trajectory import Checkpoint, TrajectoryLosses


@dataclass(frozen=True, kw_only=True)
class LossFiles:
    """The losses of one trajectory."""

    blobs: Blobs
    trajectory_id: str

    def write(self, position: int, block: int, losses: pa.RecordBatch) -> None:
        """Store the losses of a block at a checkpoint, in the place of those that may be there."""
        with self.blobs.write(self._path(position, block)) as file:
            pq.write_table(pa.Table.from_batches([losses]), file, compression="zstd")

    def read(self, kept: Sequence[KeptCheckpoint], block: int) -> TrajectoryLosses:
        """The losses of a block at these checkpoints."""
        checkpoints = [
            Checkpoint(position=one.position, step=one.step, epoch=one.epoch, point=one.point)
            for one in kept
        ]
        tables = [self._table(one.position, block) for one in kept]
        return TrajectoryLosses.join(checkpoints, tables)

    def _table(self, position: int, block: int) -> pa.Table:
        # A third of the time of `pq.read_table`, which prepares to read a folder of files.
        with self.blobs.open_read(self._path(position, block)) as file:
            return pq.ParquetFile(file).read(use_threads=False)

    def _path(self, position: int, block: int) -> str:
        return f"trajectories/{self.trajectory_id}/losses/{position:03d}/{block:08d}.parquet"
