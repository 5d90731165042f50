"""The checkpoints that the training of a trajectory keeps: into the blob store and on to evaluation, each once.

    trajectories/{id}/weights/{step:08d}-{token}/     a model by itself, complete once it is recorded

Folders bear the token of the lease, as those of checkpoints do: two workers that both believe they train it never write
into each other's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from winnow.messages import Publish, Wakeup
from winnow.store.blobs import Blobs
from winnow.store.evaluation import adopt_trajectory_revision, record_kept
from winnow.store.session import Connection, Database
from winnow.store.trajectories import Trajectory
from winnow.store.work import Claim
from winnow.training.events import Kept, Prepared
from winnow.trajectory import Checkpoint, planned
from workers.leftovers import discard_unrecorded
from workers.transfer import OnPiece, files_below, upload

Recorded = tuple[bool, list[Wakeup]]
Write = Callable[[Callable[[Connection], Recorded]], Recorded]
"""Runs a function in one transaction, and waits for a database that is away."""


@dataclass(kw_only=True)
class KeptWeights:
    """Takes what one attempt at the training of `trajectory` keeps. `revision` is that of the files it began with."""

    database: Database
    blobs: Blobs
    publish: Publish
    claim: Claim
    trajectory: Trajectory
    revision: str
    _planned: dict[int, Checkpoint] = field(default_factory=dict)

    def prepare(self, connection: Connection, event: Prepared) -> None:
        """Training knows how many steps it takes, and so which of them it will keep.

        Raises:
            RevisionMismatch: the model before training was evaluated with other files.
        """
        options = self.trajectory.spec.trajectory
        assert options is not None  # noqa: S101  # what made the trajectory
        checkpoints = planned(event.total_steps, options.n_epochs, options.points)
        self._planned = {checkpoint.step: checkpoint for checkpoint in checkpoints}
        window = event.hyperparameters["max_length"]
        adopt_trajectory_revision(connection, self.trajectory.id, self.revision, window)

    def keep(self, event: Kept, source: Path, *, write: Write, on_piece: OnPiece) -> None:
        """Upload and record a checkpoint, and remove it from this disk."""
        checkpoint = self._planned[event.step]
        token = self.claim.lease_token[:8]
        folder = f"trajectories/{self.trajectory.id}/weights/{event.step:08d}-{token}"
        try:
            for name in files_below(source):
                upload(self.blobs, source / name, f"{folder}/{name}", on_piece=on_piece)
            needed, wakeups = write(
                lambda connection: record_kept(connection, self.claim, checkpoint, folder)
            )
        except BaseException:
            discard_unrecorded(self.database, self.blobs, self.claim, folder)
            raise
        if not needed:
            self.blobs.delete_tree(folder)
        self.publish(wakeups)
        shutil.rmtree(source)
