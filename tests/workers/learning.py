"""A model that learns: fake engines of the checkpoints of a trajectory, and trajectories in a house."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.fakes import FakeEngine
from tests.workers.house import OWNER, House
from winnow.messages import QUEUE_IO, QUEUE_TRAIN, Offer
from winnow.proxy.engine import Span, SpanLoss
from winnow.spec import RunSpec
from winnow.store.runs import create_run
from winnow.store.trajectories import Trajectory, list_trajectories
from winnow.trajectory import Checkpoint
from workers.checkpoints import is_checkpoint

NUM_OWN = 4
"""Checkpoints of `start_own`: an end of an epoch every second one."""

UNLEARNABLE = b"ODD"
"""A row that says so is harder after training than before."""


@dataclass
class LearningEngine(FakeEngine):
    """The model after `position` kept steps: losses fall from one to the next, each row's at a rate of its own.

    Embeds a text as counts of its letters by where they stand, in eight bins.
    """

    position: int = 0
    name: str = "proxy"

    def embed(
        self, texts: Sequence[str], *, on_batch: Callable[[int], None]
    ) -> npt.NDArray[np.float32]:
        found = []
        for text in texts:
            letters = np.frombuffer(text.encode(), np.uint8)
            found.append(np.bincount((letters + np.arange(len(letters))) % 8, minlength=8))
        on_batch(len(texts))
        return np.stack(found).astype(np.float32)

    def _loss(self, span: Span) -> SpanLoss:
        untrained = super()._loss(span)
        odd = UNLEARNABLE in bytes(token for token in span.tokens if token < 256)
        rate = 1.1 if odd else 0.95 - 0.3 * (sum(span.tokens) % 97) / 97
        nll = untrained.nll * rate**self.position
        return SpanLoss(nll=nll, num_tokens=untrained.num_tokens)


@dataclass
class Shelf:
    """Loads the fake engines, and notes in which order it was asked for them."""

    loaded: list[str] = field(default_factory=list)

    def load(self, spec: RunSpec) -> LearningEngine:
        self.loaded.append(spec.model)
        position = int(spec.model.partition("@")[2]) if is_checkpoint(spec.model) else 0
        return LearningEngine(position=position)


def start_own(house: House, dataset_id: str, **options: Any) -> str:
    """A run over checkpoints that somebody else has trained, two epochs with a checkpoint in the middle of each."""
    spec = RunSpec.make(checkpoints="/anywhere", n_epochs=2, **options)
    own = [
        (
            Checkpoint(position=at, step=10 * at, epoch=None if at % 2 else at // 2, point=True),
            f"/anywhere/checkpoint-{10 * at}",
        )
        for at in range(1, NUM_OWN + 1)
    ]
    with house.database.transaction() as connection:
        run, wakeups = create_run(
            connection,
            owner=OWNER,
            dataset_id=dataset_id,
            spec=spec,
            checkpoints=own,
            settings=house.settings,
        )
    house.published += wakeups
    return run.id


def only_trajectory(house: House) -> Trajectory:
    with house.database.transaction() as connection:
        (found,) = list_trajectories(connection, owner=OWNER).items
    return found


def all_queues(model: str = "winnow-mini") -> frozenset[str]:
    """What a worker takes that does everything."""
    offer = Offer(engine="torch", model=model, dtype="float32")
    return frozenset({QUEUE_IO, QUEUE_TRAIN, offer.queue})
