"""From the checkpoints of a fine-tune to scores, clusters and subsets: evaluation, scoring, finalising, choosing."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from tests.workers.house import OWNER, House, alpaca
from tests.workers.learning import (
    NUM_OWN,
    UNLEARNABLE,
    LearningEngine,
    Shelf,
    only_trajectory,
    start_own,
)
from winnow.embedding import comparable
from winnow.evaluation import evaluate_block
from winnow.records.blocks import BlockReader
from winnow.records.example import BLOCK_ROWS
from winnow.scores import NO_CLUSTER, RowScore, ScoreTable, row_scores
from winnow.selection import request
from winnow.selection.ratio import select
from winnow.selection.request import Selection
from winnow.selection.stored import read_selected, selection_key
from winnow.store import selections
from winnow.store.datasets import delete_dataset
from winnow.store.runs import Run
from winnow.store.scores import page_scores
from winnow.store.selections import HeavySelection, get_selection, request_selection
from winnow.store.trajectories import delete_trajectory, load_checkpoints
from winnow.trajectory import Checkpoint, TrajectoryLosses, trajectory_scores
from workers.embeddings import EmbeddingFiles
from workers.unit import UnitRunner

NUM_ROWS = BLOCK_ROWS + 100
"""Two blocks."""

NO_LABELS = np.full(NUM_ROWS, NO_CLUSTER, dtype=np.int32)
NO_ANSWER = b'{"instruction": "Add", "output": ""}\n'


def sourced(num_rows: int) -> bytes:
    """Rows of three sources, of unequal sizes."""
    rows = (
        {
            "instruction": f"Square {number}",
            "output": f"It is {number * number}.",
            "source": "abc"[min(2, number % 5)],
        }
        for number in range(num_rows)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def scores_of(house: House, run_id: str) -> ScoreTable:
    with house.blobs.open_read(f"runs/{run_id}/scores.parquet") as file:
        return ScoreTable.read(file)


def worker(house: House, shelf: Shelf) -> UnitRunner:
    return house.runner(load=shelf.load)


def scored(house: House, shelf: Shelf, data: bytes, **options: object) -> str:
    """A completed run over checkpoints of one's own."""
    run_id = start_own(house, house.upload(data), **options)
    house.work(worker(house, shelf))
    assert house.run(run_id).status == "completed", house.run(run_id).error
    return run_id


def scored_by_hand(house: House, run: Run) -> list[RowScore]:
    """What the library makes of the rows of a run over checkpoints of one's own, without any worker."""
    reader = BlockReader(*house.blobs.folder(f"datasets/{run.dataset_id}/rows"))
    with house.database.transaction() as connection:
        kept = load_checkpoints(connection, only_trajectory(house).id)
    steps = [
        Checkpoint(position=one.position, step=one.step, epoch=one.epoch, point=one.point)
        for one in kept
    ]
    found: list[RowScore] = []
    for block in range(reader.num_blocks):
        losses = [
            evaluate_block(
                reader.outcomes(block),
                engine=LearningEngine(position=one.position),
                spec=run.spec,
                on_rows=lambda _: None,
            )
            for one in steps
        ]
        found += trajectory_scores(TrajectoryLosses.join(steps, losses), run.spec)
    return found


def ask(house: House, run_id: str, selection: Selection) -> HeavySelection:
    """Ask for a selection that takes work, as the gateway does."""
    key, request = selection_key(selection), selection.canonical().as_dict()
    with house.database.transaction() as connection:
        asked, wakeups = request_selection(
            connection, owner=OWNER, run_id=run_id, key=key, request=request
        )
    house.published += wakeups
    return asked


def chosen(house: House, run_id: str, key: str) -> HeavySelection:
    with house.database.transaction() as connection:
        return get_selection(connection, owner=OWNER, run_id=run_id, key=key)


def test_every_row_gets_a_learning_percentage_or_a_reason(house: House) -> None:
    shelf = Shelf()
    run_id = scored(house, shelf, alpaca(NUM_ROWS - 1) + NO_ANSWER, method="learning_percentage")
    run, table = house.run(run_id), scores_of(house, run_id)
    assert np.array_equal(table.row, np.arange(NUM_ROWS))
    assert (run.rows_scored, run.rows_rejected) == (NUM_ROWS - 1, 1)
    assert table.table.column("reason")[NUM_ROWS - 1].as_py() == "empty_answer"
    assert run.revision == LearningEngine().revision
    assert row_scores(table.with_clusters(NO_LABELS, NO_LABELS).table) == scored_by_hand(house, run)
    # Clusters of embeddings: by the method's rule one for fifty rows, and the same in pages as in the file.
    labels = table.labels("cluster")
    assert labels[-1] == -1
    assert len(np.unique(labels[:-1])) == 22
    with house.database.transaction() as connection:
        page = page_scores(connection, owner=OWNER, run_id=run_id, limit=NUM_ROWS).items
    assert [one.cluster for one in page] == table.table.column("cluster").to_pylist()
    assert run.summary is not None
    assert run.summary["share_at_least_1"] is None
    assert run.warnings == ()


def test_a_worker_changes_its_checkpoint_as_seldom_as_it_can(house: House) -> None:
    shelf = Shelf()
    scored(house, shelf, alpaca(NUM_ROWS), method="s2l")
    trajectory = only_trajectory(house)
    positions = range(1, NUM_OWN + 1)
    assert shelf.loaded == ["winnow-mini", *(f"{trajectory.id}@{at}" for at in positions)]
    assert (trajectory.status, trajectory.checkpoints_done) == ("completed", NUM_OWN + 1)
    assert trajectory.rows_done == NUM_ROWS * (NUM_OWN + 1)


def test_a_second_method_on_the_same_trajectory_needs_no_model(house: House) -> None:
    first = scored(house, Shelf(), alpaca(300), method="learning_percentage")
    units = house.count("work WHERE kind = 'evaluate'")
    shelf = Shelf()
    second = start_own(house, house.run(first).dataset_id, method="s2l")
    house.work(worker(house, shelf))
    assert house.run(second).status == "completed"
    assert shelf.loaded == []
    assert house.count("work WHERE kind = 'evaluate'") == units
    assert house.run(second).trajectory_id == house.run(first).trajectory_id
    table = scores_of(house, second)
    assert len(np.unique(table.labels("cluster"))) == 100
    assert select(table, Selection.make(method="s2l", ratio=0.1), sources=no_sources).k == 30


def test_rows_of_several_sources_are_clustered_by_source_too(house: House) -> None:
    run_id = scored(house, Shelf(), sourced(500), method="learning_percentage", num_clusters=5)
    table = scores_of(house, run_id)
    in_source = table.labels("cluster_in_source")
    by_source = [set(in_source[np.arange(500) % 5 == at].tolist()) for at in (0, 1, 2)]
    assert [len(labels) for labels in by_source] == [5, 5, 5]
    assert len(set().union(*by_source)) == 15
    assert len(np.unique(table.labels("cluster"))) == 5


def test_a_proxy_that_does_not_learn_is_told_of(house: House) -> None:
    data = alpaca(80) + alpaca(20).replace(b"Square", UNLEARNABLE)
    run = house.run(scored(house, Shelf(), data, method="learning_percentage"))
    assert run.rows_scored == 100
    assert run.summary is not None
    assert run.summary["flagged"] == {"unlearned": 20}
    assert any("did not learn: 20%" in warning for warning in run.warnings)


def test_a_block_that_is_evaluated_twice_is_stored_the_same(house: House) -> None:
    run_id = scored(house, Shelf(), alpaca(50), method="s2l")
    trajectory = only_trajectory(house)
    path = f"trajectories/{trajectory.id}/losses/002/00000000.parquet"
    before = house.blobs.open_read(path).read()
    house.execute(
        "UPDATE work SET state = 'queued', attempt = 0 WHERE kind = 'evaluate' AND checkpoint = 2"
    )
    house.execute("UPDATE trajectory SET status = 'evaluating'")
    (unit,) = house.rows("SELECT id FROM work WHERE kind = 'evaluate' AND checkpoint = 2")
    worker(house, Shelf()).run(unit["id"])
    assert house.blobs.open_read(path).read() == before
    assert house.run(run_id).status == "completed"


def test_a_worker_with_other_files_of_the_model_leaves_the_trajectory_to_others(
    house: House,
) -> None:
    run_id = start_own(house, house.upload(alpaca(20)), method="s2l")
    house.published.sort(key=lambda wakeup: wakeup.work_id)
    house.runner().run(house.published.pop(0).work_id)
    house.execute("UPDATE trajectory SET revision = 'another'")
    house.work(worker(house, Shelf()))
    (unit,) = house.rows("SELECT * FROM work WHERE kind = 'evaluate' AND checkpoint = 0")
    assert (unit["state"], unit["error"]["code"]) == ("queued", "revision_mismatch")
    assert house.run(run_id).status == "training"


def test_ifd_with_embeddings_is_chosen_from_by_clusters_and_by_facility_location(
    house: House,
) -> None:
    run_id = house.start_run(house.upload(alpaca(600)), embeddings=True)
    house.work(worker(house, Shelf()))
    run, table = house.run(run_id), scores_of(house, run_id)
    assert run.status == "completed", run.error
    assert len(np.unique(table.labels("cluster"))) == 12
    balanced = Selection.make(strategy="cluster_balanced", ratio=0.1)
    assert len(select(table, balanced, sources=no_sources).rows) == 60
    wanted = Selection.make(strategy="facility_location", ratio=0.05)
    asked = ask(house, run_id, wanted)
    assert asked.status == "queued"
    assert ask(house, run_id, wanted).key == asked.key
    house.work(worker(house, Shelf()))
    done = chosen(house, run_id, asked.key)
    assert done.status == "done", done.error
    assert done.result is not None
    assert done.blob is not None
    with house.blobs.open_read(done.blob) as file:
        selected = read_selected(file, done.result)
    embeddings = EmbeddingFiles(blobs=house.blobs, run_id=run_id).read(1)
    expected = select(
        table, wanted, sources=no_sources, points=lambda: comparable(embeddings, "proxy")
    )
    assert np.array_equal(selected.rows, expected.rows)
    assert len(selected.rows) == selected.k == 30
    assert sum(selected.taken_by_rule.values()) + 30 == 600


def test_a_selection_that_its_run_cannot_give_fails_alone_and_says_why(house: House) -> None:
    run_id = house.start_run(house.upload(alpaca(50)))
    house.work(worker(house, Shelf()))
    asked = ask(house, run_id, Selection.make(strategy="facility_location", count=5))
    house.work(worker(house, Shelf()))
    failed = chosen(house, run_id, asked.key)
    assert failed.error is not None
    assert (failed.status, failed.error.code) == ("failed", "invalid_option")
    assert "embeddings=true" in failed.error.message
    assert house.run(run_id).status == "completed"


def test_what_a_deleted_dataset_left_is_gone(house: House) -> None:
    run_id = scored(house, Shelf(), alpaca(30), method="learning_percentage")
    trajectory = only_trajectory(house)
    assert house.blobs.names(f"trajectories/{trajectory.id}") == ["losses"]
    with house.database.transaction() as connection:
        dataset_id = house.run(run_id).dataset_id
        house.published += delete_dataset(connection, owner=OWNER, dataset_id=dataset_id)
    house.work(worker(house, Shelf()))
    for folder in ("datasets", "runs", "trajectories", "fine_tunes"):
        assert house.blobs.names(folder) == []
    assert [house.count(table) for table in ("trajectory", "run", "dataset")] == [0, 0, 0]


def test_a_deleted_trajectory_leaves_its_runs_and_no_file_of_its_own(house: House) -> None:
    run_id = scored(house, Shelf(), alpaca(30), method="s2l")
    trajectory = only_trajectory(house)
    with house.database.transaction() as connection:
        house.published += delete_trajectory(connection, owner=OWNER, trajectory_id=trajectory.id)
    house.work(worker(house, Shelf()))
    assert house.blobs.names("trajectories") == []
    assert (house.count("trajectory"), house.run(run_id).status) == (0, "completed")
    assert len(scores_of(house, run_id)) == 30


def test_rows_of_a_selection_that_made_room_are_removed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selections, "KEPT_PER_RUN", 1)
    run_id = house.start_run(house.upload(alpaca(50)), embeddings=True)
    house.work(worker(house, Shelf()))
    for count in (3, 4, 5):
        ask(house, run_id, Selection.make(strategy="facility_location", count=count))
        house.work(worker(house, Shelf()))
    assert len(house.blobs.names(f"runs/{run_id}/selections")) == 2
    assert house.count("selection") == 2


def test_more_rows_than_can_be_compared_are_refused_by_a_worker_too(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "MAX_POOL", 8)
    run_id = house.start_run(house.upload(alpaca(50)), embeddings=True)
    house.work(worker(house, Shelf()))
    asked = ask(house, run_id, Selection.make(strategy="facility_location", count=5))
    house.work(worker(house, Shelf()))
    error = chosen(house, run_id, asked.key).error
    assert error is not None
    assert (error.code, error.param) == ("invalid_option", "pool_ratio")


def no_sources() -> pa.ChunkedArray:
    raise AssertionError("nothing is chosen by source")
