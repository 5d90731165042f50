"""What the training of a trajectory keeps: stored and recorded once, evaluated at once, fetched when its turn comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.fakes import FakeEngine
from tests.workers.house import OWNER, House, alpaca
from tests.workers.learning import Shelf, all_queues, only_trajectory
from winnow.errors import LeaseLost, RevisionMismatch
from winnow.messages import QUEUE_IO, QUEUE_TRAIN, Wakeup
from winnow.store.blobs import Blobs
from winnow.store.evaluation import finish_trajectory_training
from winnow.store.session import Connection
from winnow.store.training import record_plan
from winnow.store.trajectories import KeptCheckpoint, cancel_trajectory, load_checkpoints
from winnow.store.work import Claim, claim, release
from winnow.training.events import Kept, Prepared
from workers.checkpoints import is_checkpoint
from workers.kept import KeptWeights, Recorded
from workers.run import checkpoint_files
from workers.scratch import turn

NUM_STEPS = 4
OPTIONS = {"n_epochs": 2, "points": 2}
"""Ends of epochs, and points, are steps 2 and 4."""


@dataclass
class Training:
    """The training of a trajectory in the hands of a worker, without the process."""

    house: House
    folder: Path
    published: list[Wakeup] = field(default_factory=list)
    claimed: Claim = field(init=False)
    weights: KeptWeights = field(init=False)

    def take(self, *, blobs: Blobs | None = None, revision: str = FakeEngine().revision) -> None:
        """Claim the unit, as if training began or went on."""
        (unit,) = self.house.rows("SELECT id FROM work WHERE kind = 'train' AND state = 'queued'")
        with self.house.database.transaction() as connection:
            claimed = claim(connection, unit["id"], worker_id="w", lease_s=60, queues=[QUEUE_TRAIN])
        assert claimed is not None
        self.claimed = claimed
        self.weights = KeptWeights(
            database=self.house.database,
            blobs=blobs or self.house.blobs,
            publish=self.published.extend,
            claim=claimed,
            trajectory=only_trajectory(self.house),
            revision=revision,
        )
        with self.house.database.transaction() as connection:
            record_plan(
                connection,
                claimed,
                [],
                total_steps=NUM_STEPS,
                hyperparameters={},
                provenance={},
            )
            self.weights.prepare(connection, PREPARED)

    def give_back(self) -> None:
        with self.house.database.transaction() as connection:
            release(connection, self.claimed)

    def keep(self, step: int, *, on_piece: Callable[[], None] = lambda: None) -> Path:
        """Let the process keep a model after `step`; the folder it had on this disk."""
        source = self.folder / f"step-{step}"
        source.mkdir()
        (source / "config.json").write_bytes(b"{}")
        (source / "model.safetensors").write_bytes(b"weights of %d" % step)
        event = Kept(step=step, epoch=step // 2, point=True, folder=source.name)
        self.weights.keep(event, source, write=self.write, on_piece=on_piece)
        return source

    def write(self, write: Callable[[Connection], Recorded]) -> Recorded:
        with self.house.database.transaction() as connection:
            return write(connection)

    def kept(self) -> list[KeptCheckpoint]:
        with self.house.database.transaction() as connection:
            return load_checkpoints(connection, self.weights.trajectory.id)

    def stored(self) -> list[str]:
        """Folders of weights, by their steps."""
        names = self.house.blobs.names(f"trajectories/{self.weights.trajectory.id}/weights")
        return [name.partition("-")[0].lstrip("0") for name in names]

    def finish(self) -> None:
        with self.house.database.transaction() as connection:
            self.house.published += finish_trajectory_training(
                connection, self.claimed, trained_tokens=1, metrics={}
            )

    def evaluate(self) -> None:
        """Have everything done that is to be done."""
        waiting = self.house.rows("SELECT id, queue FROM work WHERE kind = 'evaluate' ORDER BY id")
        self.house.published += [Wakeup(work_id=row["id"], queue=row["queue"]) for row in waiting]
        queues = all_queues() - {QUEUE_TRAIN}
        self.house.work(self.house.runner(load=Shelf().load, queues=queues))


PREPARED = Prepared(
    rows_used=20,
    rows_rejected=0,
    rejected_by_reason={},
    validation_rejected={},
    answers_cut=0,
    total_steps=NUM_STEPS,
    resumed_from=0,
    trained_tokens_planned=100,
    hyperparameters={"max_length": 256},
)


@pytest.fixture
def training(house: House, tmp_path: Path) -> Training:
    """A run whose trajectory is about to be trained."""
    house.start_run(house.upload(alpaca(20)), method="s2l", **OPTIONS)
    house.work(house.runner(queues=frozenset({QUEUE_IO})))
    folder = tmp_path / "job"
    folder.mkdir()
    return Training(house, folder)


def test_a_checkpoint_is_stored_recorded_and_evaluated_at_once(training: Training) -> None:
    training.take()
    source = training.keep(2)
    assert not source.exists()
    _, kept = training.kept()
    assert (kept.position, kept.step, kept.epoch, kept.point) == (1, 2, 1, True)
    assert training.house.blobs.find(kept.folder or "") == ["config.json", "model.safetensors"]
    assert len(training.published) == 1
    training.evaluate()
    assert [one.blocks_done for one in training.kept()] == [1, 1]
    assert training.stored() == []
    assert only_trajectory(training.house).status == "training"


def test_what_is_kept_again_after_a_resume_counts_once(training: Training) -> None:
    training.take()
    training.keep(2)
    first = training.kept()[1].folder
    training.give_back()
    training.take()
    assert not training.keep(2).exists()
    assert training.kept()[1].folder == first
    assert training.stored() == ["2"]


def test_an_upload_that_is_broken_off_leaves_nothing_behind(training: Training) -> None:
    training.take()

    def stop() -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        training.keep(2, on_piece=stop)
    assert (training.stored(), len(training.kept())) == ([], 1)


def test_a_worker_that_lost_its_lease_leaves_nothing_behind(training: Training) -> None:
    training.take()
    training.give_back()
    with pytest.raises(LeaseLost):
        training.keep(2)
    assert (training.stored(), len(training.kept())) == ([], 1)


def test_what_was_recorded_stays_whatever_the_worker_hears_of_it(training: Training) -> None:
    """The commit went through, its answer was lost, and so was the lease when the worker asked again."""
    training.take()

    def write(record: Callable[[Connection], Recorded]) -> Recorded:
        with training.house.database.transaction() as connection:
            record(connection)
        training.give_back()
        with training.house.database.transaction() as connection:
            return record(connection)

    training.write = write  # type: ignore[method-assign]
    with pytest.raises(LeaseLost):
        training.keep(2)
    _, kept = training.kept()
    assert training.house.blobs.find(kept.folder or "") == ["config.json", "model.safetensors"]
    training.evaluate()
    assert [one.blocks_done for one in training.kept()] == [1, 1]


def test_training_that_lost_its_way_leaves_what_it_kept_to_nobody(training: Training) -> None:
    """It goes on from nothing, on a machine whose losses may be others: no row may be scored by both."""
    house = training.house
    training.take()
    training.keep(2)
    training.give_back()
    old = training.weights.trajectory.id
    (unit,) = house.rows("SELECT id FROM work WHERE kind = 'train' AND state = 'queued'")
    house.runner(queues=frozenset({QUEUE_TRAIN})).run(unit["id"])
    (run,) = house.rows("SELECT * FROM run")
    assert (run["status"], run["trajectory_id"] != old) == ("training", True)
    assert house.rows("SELECT step FROM trajectory_checkpoint WHERE trajectory_id = :id", id=old)
    house.work(house.runner(queues=frozenset({QUEUE_IO})))
    assert house.blobs.names(f"trajectories/{old}") == []
    (again,) = house.rows("SELECT * FROM work WHERE kind = 'train' AND state = 'queued'")
    assert again["trajectory_id"] == run["trajectory_id"]


def test_a_fetch_says_that_it_goes_on_and_can_be_ended(training: Training) -> None:
    training.take()
    training.keep(2)
    files = checkpoint_files(training.house.settings, training.house.database)
    name = f"{training.weights.trajectory.id}@1"
    pieces: list[str] = []
    with files.fetched(name, on_piece=lambda: pieces.append("piece")):
        assert pieces == ["piece"] * 2
    files.remove(name)

    def stop() -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost), files.fetched(name, on_piece=stop):
        pass
    assert list(files.root.iterdir()) == []


def test_who_waits_for_the_fetch_of_another_process_can_be_stopped(tmp_path: Path) -> None:
    asked: list[str] = []

    def stop() -> None:
        asked.append("asked")
        raise LeaseLost

    lock = tmp_path / "here" / "lock"
    with turn(lock, on_wait=stop), pytest.raises(LeaseLost), turn(lock, on_wait=stop):
        pass
    assert asked == ["asked"]
    with turn(lock, on_wait=stop):
        pass


def test_a_checkpoint_that_comes_after_a_cancel_leaves_nothing_behind(training: Training) -> None:
    training.take()
    training.keep(2)
    with training.house.database.transaction() as connection:
        id_ = training.weights.trajectory.id
        _, wakeups = cancel_trajectory(connection, owner=OWNER, trajectory_id=id_)
    training.keep(4)
    training.house.execute("UPDATE work SET lease_expires_at = now() - interval '1 minute'")
    training.house.published += wakeups
    training.evaluate()
    assert training.house.blobs.names("trajectories") == []
    assert only_trajectory(training.house).status == "cancelled"


def test_training_and_evaluation_begin_with_the_same_files(training: Training) -> None:
    training.house.execute("UPDATE trajectory SET revision = 'another'")
    with pytest.raises(RevisionMismatch, match="begun with model files of revision another"):
        training.take()


def test_weights_that_nobody_recorded_go_away_when_training_ends(training: Training) -> None:
    training.take()
    with training.house.blobs.write(
        f"trajectories/{training.weights.trajectory.id}/weights/00000002-dead/model.safetensors"
    ) as file:
        file.write(b"of a worker that died")
    training.keep(2)
    training.keep(4)
    assert training.stored() == ["2", "2", "4"]
    training.finish()
    training.evaluate()
    assert training.stored() == []
    assert only_trajectory(training.house).status == "completed"


class TornBlobs(Blobs):
    """A blob store that has gone away when the last file of some weights is read."""

    def open_read(self, path: str) -> BinaryIO:
        if path.endswith("model.safetensors"):
            raise FileNotFoundError(path)
        return super().open_read(path)


def test_one_checkpoint_is_kept_on_this_disk(training: Training) -> None:
    training.take()
    training.keep(2)
    training.keep(4)
    files = checkpoint_files(training.house.settings, training.house.database)
    first, second = (f"{training.weights.trajectory.id}@{at}" for at in (1, 2))
    assert is_checkpoint(first)
    with files.fetched(first) as folder:
        assert (folder / "model.safetensors").read_bytes() == b"weights of 2"
    with files.fetched(first) as again:
        assert again == folder
    with files.fetched(second) as other:
        assert (other / "model.safetensors").read_bytes() == b"weights of 4"
    assert [path.name for path in files.root.iterdir()] == [second]
    files.remove(training.weights.trajectory.id)
    assert list(files.root.iterdir()) == []


def test_weights_that_are_not_there_whole_are_none(training: Training) -> None:
    training.take()
    training.keep(2)
    name = f"{training.weights.trajectory.id}@1"
    house = training.house
    files = checkpoint_files(house.settings, house.database)
    torn = type(files)(database=house.database, blobs=TornBlobs(house.blobs.url), root=files.root)
    with pytest.raises(FileNotFoundError), torn.fetched(name):
        pass
    assert list(files.root.iterdir()) == []
    assert list((house.settings.work_folder / "jobs").iterdir()) == []
    training.evaluate()
    with pytest.raises(FileNotFoundError), files.fetched(name):
        pass
