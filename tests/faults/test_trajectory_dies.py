"""Training and evaluation of a trajectory are killed and cancelled in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest
from sqlalchemy import text

from tests import servers
from tests.faults.conftest import named
from tests.faults.installation import TINY_MODEL, Installation, hurried, rows_of_text, wait_for
from tests.workers.fine_tuning import folders_in_use
from tests.workers.house import OWNER
from winnow.scores import ScoreTable
from winnow.store import migrate
from winnow.store.runs import cancel_run
from winnow.store.trajectories import KeptCheckpoint, Trajectory, load_checkpoints, load_trajectory

WORKER = ("-m", "cli", "worker", "--queues", "io,score,train", "--threads", "1")

NUM_ROWS, NUM_EPOCHS = 49, 5
"""Seconds of training on a tiny model, a step for each row (one in fifty has no answer)."""
LONG = {"n_epochs": NUM_EPOCHS, "batch_size": 1, "learning_rate": 1e-4, "points": 2}

MANY_ROWS = 2000
"""Two blocks, each of which takes a while to evaluate."""
WIDE = {"n_epochs": 1, "batch_size": 64, "learning_rate": 1e-4, "points": 3}

TOLERANCE = 1e-3
PATIENCE_S = 240.0
"""A training process that starts imports for seconds, and on a busy machine for many."""

pytestmark = pytest.mark.timeout(900)


@dataclass
class Watched:
    """A run that needs a trajectory, and what works on it."""

    place: Installation
    run_id: str

    @property
    def trajectory(self) -> Trajectory:
        used = self.place.run(self.run_id).trajectory_id
        assert used is not None
        with self.place.database.transaction() as connection:
            return load_trajectory(connection, used)

    def kept(self) -> list[KeptCheckpoint]:
        with self.place.database.transaction() as connection:
            return load_checkpoints(connection, self.trajectory.id)

    def units(self, kind: str) -> list[Any]:
        statement = text(
            "SELECT * FROM work WHERE trajectory_id = :id AND kind = :kind ORDER BY checkpoint, id"
        )
        with self.place.database.transaction() as connection:
            values = {"id": self.trajectory.id, "kind": kind}
            return list(connection.execute(statement, values))

    def wait(self, what: Callable[[], Any]) -> Any:
        """The first true answer, while nothing has failed."""

        def alive() -> Any:
            run = self.place.run(self.run_id)
            assert run.status != "failed", (run.error, self.place.logs())
            return run.trajectory_id is not None and what()

        return wait_for(alive, within_s=PATIENCE_S)

    def processes(self) -> list[psutil.Process]:
        """What trains on this installation's disk."""
        jobs = str(self.place.settings.work_folder / "jobs")
        running = psutil.process_iter(["cmdline"])
        return [one for one in running if any(jobs in word for word in one.info["cmdline"] or [])]

    def scores(self) -> npt.NDArray[np.float64]:
        """The scores of the completed run, after a check that every row has exactly one outcome."""
        self.wait(lambda: self.place.run(self.run_id).status == "completed")
        run = self.place.run(self.run_id)
        with self.place.blobs.open_read(f"runs/{run.id}/scores.parquet") as file:
            table = ScoreTable.read(file)
        assert np.array_equal(table.row, np.arange(run.rows or -1))
        reasons = table.table.column("reason").is_valid().to_numpy()
        assert np.array_equal(np.isnan(table.score), reasons)
        assert run.rows_scored + run.rows_rejected == run.rows
        return table.score

    def check_nothing_is_left(self) -> None:
        assert self.processes() == []
        wait_for(lambda: folders_in_use(self.place) == [])
        folder = f"trajectories/{self.trajectory.id}/weights"
        wait_for(lambda: self.place.blobs.find(folder) == [])
        wait_for(lambda: self.place.blobs.find("fine_tunes") == [])


@pytest.fixture(scope="module")
def place(
    postgres_url: str, redis_number: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Two workers that do everything: while one trains, the other evaluates."""
    folder = tmp_path_factory.mktemp("trajectories")
    with servers.own_database(postgres_url) as url, servers.own_number(redis_number) as broker_url:
        migrate.upgrade(url)
        settings = hurried(named(folder, url, broker_url), models=(TINY_MODEL,))
        installation = Installation(settings, folder, worker_command=WORKER)
        with installation.running(num_workers=2):
            yield installation


def start(place: Installation, num_rows: int, options: dict[str, Any]) -> Watched:
    """A run on a dataset that no other has, and so with a trajectory of its own."""
    wait_for(lambda: len(place.live_workers()) >= 2, within_s=PATIENCE_S)
    data = rows_of_text(num_rows)
    run_id = place.start_run(data, method="learning_percentage", statistic="approx", **options)
    return Watched(place, run_id)


def test_training_that_is_killed_ends_with_the_scores_of_one_that_was_not(
    place: Installation,
) -> None:
    undisturbed = start(place, NUM_ROWS, LONG)
    expected = undisturbed.scores()
    undisturbed.check_nothing_is_left()
    watched = start(place, NUM_ROWS, LONG)
    watched.wait(lambda: len(watched.kept()) > NUM_EPOCHS // 2)
    processes = watched.processes()
    assert processes
    for process in processes:
        process.kill()
    found = watched.scores()
    (unit,) = watched.units("train")
    assert unit.error["code"] == "training_died"
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected)) <= TOLERANCE
    steps = [one.step for one in watched.kept()]
    assert steps == [one.step for one in undisturbed.kept()]
    watched.check_nothing_is_left()


def test_a_worker_that_is_killed_while_it_evaluates_costs_one_more_attempt(
    place: Installation,
) -> None:
    watched = start(place, MANY_ROWS, WIDE)

    def half_done() -> Any:
        running = (unit for unit in watched.units("evaluate") if unit.state == "running")
        return next((unit for unit in running if unit.checkpoint > 0 and unit.rows_done), None)

    unit = watched.wait(half_done)
    place.worker_of(unit).kill()
    place.start_worker()
    scores = watched.scores()
    assert int(np.count_nonzero(~np.isnan(scores))) == MANY_ROWS - MANY_ROWS // 50
    attempts = {one.id: one.attempt for one in watched.units("evaluate")}
    assert attempts[unit.id] == 2
    assert watched.trajectory.rows_done == MANY_ROWS * len(watched.kept())
    watched.check_nothing_is_left()


def test_a_cancelled_run_stops_training_and_evaluation_and_leaves_nothing(
    place: Installation,
) -> None:
    watched = start(place, MANY_ROWS, WIDE | {"n_epochs": 20, "batch_size": 8})
    watched.wait(
        lambda: (
            watched.processes() and any(one.state == "running" for one in watched.units("evaluate"))
        )
    )
    with place.database.transaction() as connection:
        _, wakeups = cancel_run(connection, owner=OWNER, run_id=watched.run_id)
    place.publish(wakeups)
    wait_for(lambda: not watched.processes(), within_s=5)
    for kind in ("train", "evaluate"):
        wait_for(
            lambda kind=kind: all(one.state in {"done", "cancelled"} for one in watched.units(kind))
        )
    assert watched.trajectory.status == "cancelled"
    watched.check_nothing_is_left()
    wait_for(lambda: place.blobs.names(f"trajectories/{watched.trajectory.id}") == [])
    fetched = place.settings.work_folder / "trajectories"
    wait_for(lambda: not list(fetched.glob(f"{watched.trajectory.id}*")))
