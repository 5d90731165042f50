"""Evaluate: some blocks of a dataset go through one checkpoint of a trajectory, while training may still go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from winnow.evaluation import evaluate_blocks
from winnow.messages import Wakeup
from winnow.proxy.engine import Engine
from winnow.records.blocks import BlockReader
from winnow.scoring import window
from winnow.store.blobs import Blobs
from winnow.store.evaluation import Evaluated, adopt_trajectory_revision, finish_evaluate
from winnow.store.losses import LossFiles
from winnow.store.session import Connection, Database
from winnow.store.trajectories import Trajectory, load_trajectory
from winnow.store.work import Claim
from workers.checkpoints import spec_at
from workers.engines import EngineCache
from workers.lease import Lease
from workers.unit import Finish


@dataclass(frozen=True, kw_only=True)
class EvaluateHandler:
    """Computes with the engine of this process, which holds one checkpoint until a unit of another comes."""

    database: Database
    blobs: Blobs
    engines: EngineCache

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Evaluate the blocks of the unit; their losses are written down as they come.

        Raises:
            ModelError: the model is missing, unsafe, or not the one that the trajectory began with.
            InvalidOption: the model lacks what the trajectory asks for.
        """
        assert claimed.trajectory_id is not None  # noqa: S101  # a unit of evaluation
        assert claimed.checkpoint is not None  # noqa: S101
        with self.database.transaction() as connection:
            trajectory = load_trajectory(connection, claimed.trajectory_id)
        engine = self._engine(trajectory, claimed.checkpoint, lease)
        reader = BlockReader(*self.blobs.folder(f"datasets/{trajectory.dataset_id}/rows"))
        files = LossFiles(blobs=self.blobs, trajectory_id=trajectory.id)
        blocks = range(claimed.first_block, claimed.first_block + claimed.num_blocks)
        rows, nll, num_tokens = 0, 0.0, 0
        computed = evaluate_blocks(
            map(reader.outcomes, blocks),
            engine=engine,
            spec=trajectory.spec,
            on_rows=lease.progress,
        )
        for block, losses in zip(blocks, computed, strict=True):
            files.write(claimed.checkpoint, block, losses)
            rows += losses.num_rows
            nll += pc.sum(losses.column("nll"), min_count=0).as_py()
            num_tokens += pc.sum(losses.column("num_tokens"), min_count=0).as_py()
        found = Evaluated(rows=rows, nll=nll, num_tokens=num_tokens)

        def finish(connection: Connection) -> Sequence[Wakeup]:
            return finish_evaluate(connection, claimed, found)

        return finish

    def _engine(self, trajectory: Trajectory, position: int, lease: Lease) -> Engine:
        engine = self.engines.get(spec_at(trajectory, position), on_piece=lease.go_on)
        if position == 0:
            longest = window(engine, trajectory.spec)
            with self.database.transaction() as connection:
                adopt_trajectory_revision(connection, trajectory.id, engine.revision, longest)
        return engine
