"""A trajectory with the real training process and a tiny model, from the dataset to the scores of two methods."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.workers.fine_tuning import folders_in_use
from tests.workers.house import OWNER, House, alpaca
from tests.workers.learning import all_queues, only_trajectory
from winnow.scores import ScoreTable
from winnow.store.events import list_events
from winnow.store.trajectories import load_checkpoints
from workers.run import engine_loader

TINY = str(Path(__file__).parents[1] / "golden" / "tiny-gpt2")
OPTIONS = {"model": TINY, "n_epochs": 2, "points": 3, "batch_size": 8, "learning_rate": 1e-3}
NO_ANSWER = b'{"instruction": "Add", "output": ""}\n'


def test_a_dataset_is_trained_on_evaluated_and_scored_by_two_methods(house: House) -> None:
    first = house.start_run(
        house.upload(alpaca(39) + NO_ANSWER), method="learning_percentage", **OPTIONS
    )
    load = engine_loader(house.settings, house.database, 1)
    worker = house.runner(load=load, queues=all_queues(TINY))
    house.work(worker)
    run = house.run(first)
    assert run.status == "completed", run.error
    assert (run.rows_scored, run.rows_rejected) == (39, 1)
    trajectory = only_trajectory(house)
    assert trajectory.training is not None
    assert (trajectory.training.status, trajectory.training.step) == ("succeeded", 10)
    with house.database.transaction() as connection:
        kept = load_checkpoints(connection, trajectory.id)
        events = list_events(connection, owner=OWNER, subject=trajectory.id, limit=1000)
    assert [(one.step, one.epoch, one.point) for one in kept] == [
        (0, 0, False),
        (3, None, True),
        (5, 1, False),
        (7, None, True),
        (10, 2, True),
    ]
    losses = [one.mean_loss for one in kept if one.mean_loss is not None]
    assert len(losses) == 5
    assert losses == sorted(losses, reverse=True), "it learns"
    types = [event.type for event in events]
    assert types.count("trajectory.kept") == 4
    assert types.count("trajectory.evaluated") == 5
    assert "trajectory.step" in types

    second = house.start_run(run.dataset_id, method="s2l", **OPTIONS)
    house.work(worker)
    assert house.run(second).status == "completed"
    assert house.run(second).trajectory_id == trajectory.id
    assert house.count("fine_tune") == 1
    with house.blobs.open_read(f"runs/{second}/scores.parquet") as file:
        table = ScoreTable.read(file)
    assert np.array_equal(np.isnan(table.score), np.arange(40) == 39)

    # Nothing but losses is left: no weights, no data of the training, no folder on this disk.
    assert house.blobs.find(f"trajectories/{trajectory.id}/weights") == []
    assert house.blobs.find("fine_tunes") == []
    assert folders_in_use(house) == []
    assert [path.name for path in (house.settings.work_folder / "trajectories").iterdir()] == []


def test_weights_stay_where_they_are_asked_for(house: House) -> None:
    options = OPTIONS | {"n_epochs": 1, "points": 1, "keep_weights": True}
    run_id = house.start_run(house.upload(alpaca(8)), method="s2l", **options)
    load = engine_loader(house.settings, house.database, 1)
    house.work(house.runner(load=load, queues=all_queues(TINY)))
    assert house.run(run_id).status == "completed"
    with house.database.transaction() as connection:
        _, last = load_checkpoints(connection, only_trajectory(house).id)
    assert "model.safetensors" in house.blobs.find(last.folder or "")
