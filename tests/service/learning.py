"""A proxy that learns in no time, and the training worker that keeps its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import select

from service.proxies import local_revision
from tests.fakes import FakeEngine
from winnow.proxy.engine import Span, SpanLoss
from winnow.spec import RunSpec
from winnow.store import evaluation, training, work
from winnow.store.session import Database
from winnow.store.tables import work as units
from winnow.store.trajectories import load_trajectory
from winnow.trajectory import planned
from workers.checkpoints import is_checkpoint

NUM_STEPS = 6
OPTIONS = {"n_epochs": "2", "points": "3"}
"""Of a trajectory with checkpoints before training and after steps 2, 3, 4 and 6; epochs end with 3 and 6."""

STEPS = (0, 2, 3, 4, 6)


@dataclass
class Learner(FakeEngine):
    """At each `position` of a trajectory its losses are lower, of some rows sooner than of others; it embeds bytes."""

    position: int = 0
    name: str = "proxy"

    def embed(
        self, texts: Sequence[str], *, on_batch: Callable[[int], None]
    ) -> npt.NDArray[np.float32]:
        rows = [
            np.bincount(np.frombuffer(text.encode(), np.uint8) % 8, minlength=8) for text in texts
        ]
        on_batch(len(texts))
        return np.array(rows, dtype=np.float32).reshape(len(texts), 8)

    def _loss(self, span: Span) -> SpanLoss:
        loss = super()._loss(span)
        speed = 1 + sum(span.tokens) % 5
        return SpanLoss(nll=loss.nll / (1 + self.position * speed / 10), num_tokens=loss.num_tokens)


def load_learner(spec: RunSpec) -> Learner:
    """The engine of a model: of a checkpoint as far as that is, of any other model before training."""
    position = int(spec.model.rpartition("@")[2]) if is_checkpoint(spec.model) else 0
    far = 3 if spec.model == "winnow-large" else position
    return Learner(position=far, revision=local_revision(spec.model) or spec.model)


@dataclass(frozen=True)
class Trainer:
    """Does what the training worker does; reading the rows, and all that follows, is work of others."""

    database: Database

    def begin(self, trajectory_id: str) -> work.Claim:
        """Take the training and settle its plan."""
        with self.database.transaction() as connection:
            queued = select(units.c.id).where(
                units.c.trajectory_id == trajectory_id, units.c.kind == "train"
            )
            claim = work.claim(
                connection,
                connection.scalars(queued).one(),
                worker_id="trainer",
                lease_s=60,
                queues=["train"],
            )
            assert claim is not None
            settled = {"learning_rate": 0.01, "batch_size": 8, "n_epochs": 2}
            training.record_plan(
                connection, claim, [], total_steps=NUM_STEPS, hyperparameters=settled, provenance={}
            )
        return claim

    def train(self, trajectory_id: str) -> None:
        """Train to the end, and keep every checkpoint."""
        claim = self.begin(trajectory_id)
        with self.database.transaction() as connection:
            options = load_trajectory(connection, trajectory_id).spec.trajectory
            assert options is not None
            for checkpoint in planned(NUM_STEPS, options.n_epochs, options.points)[1:]:
                folder = f"trajectories/{trajectory_id}/weights/{checkpoint.step}"
                evaluation.record_kept(connection, claim, checkpoint, folder)
            evaluation.finish_trajectory_training(
                connection, claim, trained_tokens=600, metrics={"train_loss": 1.5}
            )
