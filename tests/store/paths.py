"""What happens to trajectories, in steps beside those of `tests.store.story`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from tests.store.story import OWNER, Story
from winnow.messages import QUEUE_IO, QUEUE_TRAIN, Wakeup
from winnow.records.example import BLOCK_ROWS
from winnow.spec import RunSpec
from winnow.store import evaluation, events, runs, training, trajectories, work
from winnow.store.datasets import Dataset
from winnow.store.evaluation import Evaluated
from winnow.store.runs import Run
from winnow.store.tables import fine_tune as fine_tune_table
from winnow.store.tables import trajectory as trajectory_table
from winnow.store.tables import work as work_table
from winnow.store.trajectories import KeptCheckpoint, Trajectory
from winnow.store.work import Claim
from winnow.trajectory import Checkpoint, planned

NUM_STEPS = 6
OPTIONS: dict[str, Any] = {"n_epochs": 2, "points": 2}
S2L = RunSpec.make(method="s2l", **OPTIONS)
LP = RunSpec.make(method="learning_percentage", **OPTIONS)
PLAN = planned(NUM_STEPS, n_epochs=2, points=2)
"""Before training, after step 3 and after step 6: two ends of epochs that are both points."""


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Steps on the database of a story."""

    story: Story

    def start(self, dataset: Dataset, spec: RunSpec = S2L, **options: Any) -> Run:
        return self.story.start(dataset, spec=spec, **options)[0]

    def begun(self, num_blocks: int = 2, spec: RunSpec = S2L) -> tuple[Run, Trajectory]:
        """A run that waits for its trajectory."""
        run = self.start(self.story.ready(num_blocks), spec)
        return run, self.of(run)

    def training(self, num_blocks: int = 2) -> tuple[Run, Trajectory, Claim]:
        """A run whose trajectory a worker trains."""
        run, trajectory = self.begun(num_blocks)
        return run, trajectory, self.train(trajectory)

    def of(self, run: Run) -> Trajectory:
        used = self.story.run(run).trajectory_id
        assert used is not None
        return self.load(used)

    def load(self, trajectory_id: str) -> Trajectory:
        return self.story.do(trajectories.load_trajectory, trajectory_id)

    def get(self, trajectory: Trajectory) -> Trajectory:
        return self.load(trajectory.id)

    def train(self, trajectory: Trajectory) -> Claim:
        """Let a worker read the rows and begin to train, as far as the plan."""
        (prepare,) = self.open(trajectory, "prepare")
        rows = {"rows": 8, "provenance": {}}
        self.story.do(training.finish_prepare, self.take(prepare), **rows)
        (train,) = self.open(trajectory, "train")
        claim = self.take(train)
        settled = {"hyperparameters": {"learning_rate": 0.1}, "provenance": {}}
        self.story.do(training.record_plan, claim, [], total_steps=NUM_STEPS, **settled)
        return claim

    def keep(
        self, claim: Claim, checkpoint: Checkpoint, *, folder: str | None = None
    ) -> tuple[bool, list[Wakeup]]:
        weights = folder or f"trajectories/{claim.trajectory_id}/weights/{checkpoint.step}"
        return self.story.do(evaluation.record_kept, claim, checkpoint, weights)

    def keep_all(self, claim: Claim) -> None:
        for checkpoint in PLAN[1:]:
            self.keep(claim, checkpoint)

    def end_training(self, claim: Claim) -> list[Wakeup]:
        return self.story.do(
            evaluation.finish_trajectory_training, claim, trained_tokens=100, metrics={}
        )

    def evaluate(self, claim: Claim) -> list[Wakeup]:
        rows = claim.num_blocks * BLOCK_ROWS
        found = Evaluated(rows=rows, nll=3.0 * rows, num_tokens=2 * rows)
        return self.story.do(evaluation.finish_evaluate, claim, found)

    def evaluate_all(self, trajectory: Trajectory) -> list[Wakeup]:
        """Do all evaluation that is there to be done; what the last of it set going."""
        wakeups: list[Wakeup] = []
        while units := self.open(trajectory, "evaluate"):
            wakeups = self.evaluate(self.take(units[0]))
        return wakeups

    def complete(self, trajectory: Trajectory) -> Trajectory:
        """Train and evaluate a trajectory that nobody has begun with."""
        claim = self.train(trajectory)
        self.keep_all(claim)
        self.end_training(claim)
        self.evaluate_all(trajectory)
        return self.get(trajectory)

    def open(self, trajectory: Trajectory, kind: str) -> list[Any]:
        """Units that can be taken, the first published first."""
        mine = (work_table.c.trajectory_id == trajectory.id) & (work_table.c.kind == kind)
        queued = (work_table.c.state == "queued") & work_table.c.published_at.is_not(None)
        return self._units(mine & queued)

    def units(self, trajectory: Trajectory, kind: str) -> list[Any]:
        return self._units(
            (work_table.c.trajectory_id == trajectory.id) & (work_table.c.kind == kind)
        )

    def try_take(self, unit: Any, *, worker: str = "w1", lease_s: float = 60.0) -> Claim | None:
        queues = [QUEUE_IO, QUEUE_TRAIN, unit.queue]
        return self.story.do(work.claim, unit.id, worker_id=worker, lease_s=lease_s, queues=queues)

    def take(self, unit: Any) -> Claim:
        claim = self.try_take(unit)
        assert claim is not None
        return claim

    def checkpoints(self, trajectory: Trajectory) -> list[KeptCheckpoint]:
        return self.story.do(trajectories.load_checkpoints, trajectory.id)

    def types(self, trajectory: Trajectory) -> list[str]:
        told = self.story.do(
            events.list_events, owner=trajectory.owner, subject=trajectory.id, limit=10_000
        )
        assert [one.seq for one in told] == list(range(1, len(told) + 1))
        return [one.type.removeprefix("trajectory.") for one in told]

    def cancel(self, run: Run) -> list[Wakeup]:
        _, wakeups = self.story.do(runs.cancel_run, owner=OWNER, run_id=run.id)
        return wakeups

    def set(self, trajectory: Trajectory, **values: Any) -> None:
        """Bring a trajectory into a state that only a fault can bring about."""
        mine = update(trajectory_table).where(trajectory_table.c.id == trajectory.id)
        with self.story.database.transaction() as conn:
            conn.execute(mine.values(**values))

    def set_training(self, trajectory: Trajectory, **values: Any) -> None:
        """Bring its fine-tune into a state that only a fault can bring about."""
        of_it = fine_tune_table.c.trajectory_id == trajectory.id
        with self.story.database.transaction() as conn:
            conn.execute(update(fine_tune_table).where(of_it).values(**values))

    def _units(self, which: Any) -> Sequence[Any]:
        in_order = select(work_table).where(which).order_by(work_table.c.id)
        with self.story.database.transaction() as conn:
            return list(conn.execute(in_order))
