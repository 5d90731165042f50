"""What each kind of work leaves behind: ingest, score, finalise, purge."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator

import pytest

from tests.fakes import FakeEngine
from tests.workers.house import OWNER, House, alpaca
from winnow.messages import Wakeup
from winnow.records.blocks import BlockReader
from winnow.records.example import BLOCK_ROWS, Example, Rejection, RejectionReason
from winnow.scores import RowScore, ScoreTable, row_scores
from winnow.scoring import score_block
from winnow.spec import RunSpec
from winnow.store.datasets import delete_dataset, list_rejections
from winnow.store.events import list_events
from winnow.store.runs import delete_run
from winnow.store.work import claim
from workers.ingest import read_rejections

BAD_ROWS = b"""\
{"instruction": "Add", "output": "1 + 1 = 2"}
{"instruction": "Add", "output": ""}
{"instruction": "Add", "output": "2 + 2 = 4"
{"instruction": "Add"}
"""


def stored_scores(house: House, run_id: str) -> list[RowScore]:
    with house.blobs.open_read(f"runs/{run_id}/scores.parquet") as file:
        return row_scores(ScoreTable.read(file).table)


def test_an_upload_becomes_blocks_and_every_bad_row_a_rejection(house: House) -> None:
    dataset_id = house.upload(alpaca(2 * BLOCK_ROWS) + BAD_ROWS)
    house.work()
    dataset = house.dataset(dataset_id)
    assert (dataset.status, dataset.format, dataset.num_blocks) == ("ready", "jsonl", 3)
    assert dataset.rows_read == 2 * BLOCK_ROWS + 4
    assert dataset.rows_usable == 2 * BLOCK_ROWS + 1
    with house.database.transaction() as connection:
        rejected = list_rejections(connection, owner=OWNER, dataset_id=dataset_id).items
    assert [(one.row - 2 * BLOCK_ROWS, one.reason) for one in rejected] == [
        (1, RejectionReason.EMPTY_ANSWER),
        (2, RejectionReason.MALFORMED),
        (3, RejectionReason.MISSING_FIELD),
    ]
    assert f"line {2 * BLOCK_ROWS + 3}" in rejected[1].detail


def test_a_damaged_upload_fails_its_dataset_and_every_run_that_waits_for_it(house: House) -> None:
    dataset_id = house.upload(gzip.compress(alpaca(500))[:-20])
    runs = [house.start_run(dataset_id) for _ in range(2)]
    house.work()
    assert house.dataset(dataset_id).status == "failed"
    for run_id in runs:
        run = house.run(run_id)
        assert run.error is not None
        assert (run.status, run.error.code) == ("failed", "damaged_container")


def test_rejections_are_read_back_block_by_block_and_never_gathered(house: House) -> None:
    dataset_id = house.upload(BAD_ROWS * BLOCK_ROWS)
    house.work()
    read: list[int] = []

    class WatchedReader(BlockReader):
        def outcomes(self, block: int) -> list[Example | Rejection]:
            read.append(block)
            return super().outcomes(block)

    reader = WatchedReader(*house.blobs.folder(f"datasets/{dataset_id}/rows"))
    found = read_rejections(reader, [0, 2])
    assert next(found).row == 1
    assert read == [0]
    assert sum(1 for _ in found) == 2 * BLOCK_ROWS * 3 // 4 - 1
    assert read == [0, 2]


@pytest.mark.parametrize("kind", ["ingest", "score", "finalise"])
def test_every_kind_of_work_stops_between_batches_when_the_worker_is_asked_to(
    house: House, kind: str
) -> None:
    class AskedDuringTheWork(threading.Event):
        """Set from the second look on: the first one is that of the frame, before the claim."""

        def is_set(self) -> bool:
            looked_before = super().is_set()
            self.set()
            return looked_before

    house.start_run(house.upload(alpaca(20)))
    while (work_id := house.published.pop(0).work_id) and house.unit(work_id)["kind"] != kind:
        house.runner().run(work_id)
    house.runner(stopping=AskedDuringTheWork()).run(work_id)
    assert (house.unit(work_id)["state"], house.unit(work_id)["attempt"]) == ("queued", 0)
    house.work()
    assert house.rows("SELECT status FROM run")[0]["status"] == "completed"


@pytest.mark.parametrize("blocks_per_unit", [1, 2])
def test_every_row_has_the_score_or_rejection_that_its_block_gives_it(
    house: House, blocks_per_unit: int
) -> None:
    house.settings = house.settings.model_copy(update={"blocks_per_unit": blocks_per_unit})
    dataset_id = house.upload(alpaca(2 * BLOCK_ROWS) + BAD_ROWS)
    run_id = house.start_run(dataset_id)
    house.work()
    reader = BlockReader(*house.blobs.folder(f"datasets/{dataset_id}/rows"))
    expected = [
        row
        for block in range(3)
        for row in score_block(
            reader.outcomes(block), engine=FakeEngine(), spec=RunSpec(), on_rows=lambda _: None
        )
    ]
    assert stored_scores(house, run_id) == expected
    run = house.run(run_id)
    assert (run.status, run.rows_scored, run.rows_rejected) == ("completed", 2 * BLOCK_ROWS + 1, 3)


def test_the_first_worker_binds_the_run_to_its_model_files(house: House) -> None:
    run_id = house.start_run(house.upload(alpaca(3)), max_length=64)
    house.work()
    run = house.run(run_id)
    assert (run.revision, run.window) == (FakeEngine().revision, 64)


def test_a_worker_with_other_model_files_leaves_the_run_to_others(house: House) -> None:
    run_id = house.start_run(house.upload(alpaca(3)), revision="another")
    house.work()
    run = house.run(run_id)
    assert (run.status, run.rows_scored, run.revision) == ("scoring", 0, "another")
    with house.database.transaction() as connection:
        events = list_events(connection, owner=run.owner, subject=run_id, after_seq=0, limit=20)
    assert events[-1].type == "run.retry"
    assert "same model files" in events[-1].message


def test_a_run_that_asks_for_more_than_the_window_of_its_model_fails_and_says_so(
    house: House,
) -> None:
    run_id = house.start_run(house.upload(alpaca(3)), max_length=100_000)
    house.work()
    run = house.run(run_id)
    assert run.error is not None
    assert (run.status, run.error.code) == ("failed", "invalid_option")


def test_a_completed_run_has_a_summary_and_warnings(house: House) -> None:
    run_id = house.start_run(house.upload(alpaca(20) + BAD_ROWS))
    house.work()
    run = house.run(run_id)
    assert run.summary is not None
    assert (run.summary["rows"], run.summary["scored"]) == (24, 21)
    assert run.summary["rejected_by_reason"]["malformed"] == 1
    assert any("12.5% of the rows were rejected" in warning for warning in run.warnings)


def test_putting_the_results_together_twice_gives_the_same_file(house: House) -> None:
    run_id = house.start_run(house.upload(alpaca(20) + BAD_ROWS))
    house.work()
    first = stored_scores(house, run_id)
    house.execute(
        "UPDATE work SET state = 'queued', available_at = now(), attempt = 1 WHERE kind = 'finalise'"
    )
    house.execute("UPDATE run SET status = 'finalizing'")
    house.published.append(Wakeup(work_id=finalise_id(house), queue="io"))
    house.work()
    assert house.run(run_id).status == "completed"
    assert stored_scores(house, run_id) == first


def test_a_deleted_dataset_leaves_no_file_and_no_row(house: House) -> None:
    dataset_id = house.upload(alpaca(20))
    run_id = house.start_run(dataset_id)
    house.work()
    with house.database.transaction() as connection:
        house.published += delete_dataset(connection, owner=OWNER, dataset_id=dataset_id)
    house.work()
    assert list(files(house)) == []
    assert house.count("dataset") == house.count("run") == house.count("score") == 0
    assert run_id not in str(list(files(house)))


def test_a_deleted_run_leaves_its_dataset_alone(house: House) -> None:
    dataset_id = house.upload(alpaca(20))
    run_id = house.start_run(dataset_id)
    house.work()
    with house.database.transaction() as connection:
        house.published += delete_run(connection, owner=OWNER, run_id=run_id)
    house.work()
    assert {path.split("/")[0] for path in files(house)} == {"datasets"}
    assert house.dataset(dataset_id).status == "ready"


def test_files_are_deleted_only_when_nobody_writes_them_any_more(house: House) -> None:
    dataset_id = house.upload(alpaca(20))
    ingest_id = house.published.pop().work_id
    with house.database.transaction() as connection:
        claim(connection, ingest_id, worker_id="worker-2", lease_s=60, queues={"io"})
        house.published += delete_dataset(connection, owner=OWNER, dataset_id=dataset_id)
    purge_id = house.published[0].work_id
    house.work()
    assert list(files(house)) != []
    assert (house.unit(purge_id)["state"], house.unit(purge_id)["attempt"]) == ("queued", 0)
    house.execute("UPDATE work SET lease_expires_at = now() - interval '1 second'")
    house.execute("UPDATE work SET available_at = now()")
    house.published.append(Wakeup(work_id=purge_id, queue="io"))
    house.work()
    assert list(files(house)) == []


def finalise_id(house: House) -> int:
    return int(house.rows("SELECT id FROM work WHERE kind = 'finalise'")[0]["id"])


def files(house: House) -> Iterator[str]:
    root = f"{house.blobs.root}/"
    if house.blobs.fs.exists(root):
        yield from (path.removeprefix(root) for path in house.blobs.fs.find(root))
