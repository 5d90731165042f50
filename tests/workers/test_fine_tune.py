"""Fine-tunes from their files to a model that scores, with the real training process and a tiny model."""

from __future__ import annotations

import hashlib
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.workers.fine_tuning import (
    conversations,
    events_of,
    files_of,
    folders_in_use,
    job_of,
    post_file,
    start_job,
    steps_told,
    trainer,
)
from tests.workers.house import OWNER, House, alpaca
from winnow.errors import DependencyMissing, RevisionMismatch
from winnow.messages import QUEUE_TRAIN, Offer
from winnow.proxy.engine import Engine
from winnow.selection.reference import SubsetReference
from winnow.spec import RunSpec
from winnow.store.blobs import Blobs
from winnow.store.files import delete_file
from winnow.store.fine_tunes import cancel_fine_tune
from winnow.store.training import SavedCheckpoint, kept_checkpoints, record_checkpoint
from winnow.store.work import claim, release
from winnow.training.job import MARKER, TRAIN_FILE, mark_complete, read_examples
from workers import run
from workers.engines import EngineCache
from workers.lease import HEARD_WITHIN_S
from workers.run import check_trainer, engine_loader, make_handlers, model_files
from workers.transfer import download, upload

TINY = str(Path(__file__).parents[1] / "golden" / "tiny-gpt2")
QUICK = {"model": TINY, "n_epochs": 2, "batch_size": 4, "template": "plain"}


def prepare(house: House, job_id: str) -> None:
    """Have the files of a job read, and no more."""
    trainer(house).run(house.published.pop().work_id)
    assert job_of(house, job_id).status != "validating_files"


def rows_laid_ready(house: House, job_id: str, folder: Path) -> list[int]:
    target = folder / "laid.parquet"
    blob = f"fine_tunes/{job_id}/data/{TRAIN_FILE}"
    download(house.blobs, blob, target, on_piece=lambda: None)
    return [example.row for block in read_examples(target) for example in block]


def test_an_uploaded_file_becomes_a_model_that_scores(house: House) -> None:
    job_id = start_job(
        house,
        post_file(house, conversations(16)),
        validation_file=post_file(house, conversations(4)),
        suffix="squares",
        lora_rank=2,
        **QUICK,
    )
    house.work(trainer(house))
    job = job_of(house, job_id)
    assert job.status == "succeeded", job.error
    assert (job.rows, job.step, job.total_steps) == (16, 8, 8)
    assert steps_told(house, job_id)[-1] == 8
    assert any(event.type == "fine_tune.eval" for event in events_of(house, job_id))

    files = files_of(house, job)
    assert next(iter(files)) == f"{job_id}.zip"
    assert {"adapter_model.safetensors", "README.md", "metrics.json"} < files.keys()
    for file in files.values():
        with house.blobs.open_read(file.blob) as stream:
            assert hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
        assert house.blobs.size(file.blob) == file.size_bytes
    with house.blobs.open_read(files[f"{job_id}.zip"].blob) as stream:
        archive = zipfile.ZipFile(stream)
        assert archive.testzip() is None
        assert set(archive.namelist()) == files.keys() - {f"{job_id}.zip"}

    # Nothing but the result is left, neither in the blob store nor on this disk.
    assert house.blobs.names(f"fine_tunes/{job_id}") == ["result"]
    assert folders_in_use(house) == []

    assert job.fine_tuned_model is not None
    assert job.fine_tuned_model.startswith(f"ft:{TINY}:squares:")
    offer = Offer(engine="torch", model=TINY, dtype="float32")
    run_id = house.start_run(house.upload(alpaca(4)), model=job.fine_tuned_model)
    scorer = house.runner(
        load=engine_loader(house.settings, house.database, 1),
        queues=frozenset({"io", offer.queue}),
    )
    house.work(scorer)
    scored = house.run(run_id)
    assert (scored.status, scored.rows_scored) == ("completed", 4)
    base_id = house.start_run(scored.dataset_id, model=TINY)
    house.work(scorer)
    assert house.run(base_id).revision != scored.revision

    models = model_files(house.settings, house.database)
    shutil.rmtree(models.root)
    house.execute("""UPDATE fine_tune SET metrics = metrics || '{"base_revision": "other"}'""")
    with pytest.raises(RevisionMismatch, match="adapter of other files"):
        models.folder(job.fine_tuned_model)


def test_a_subset_is_trained_on_row_by_row(house: House, tmp_path: Path) -> None:
    run_id = house.start_run(house.upload(alpaca(2000)))
    house.work()
    reference = SubsetReference(run_id=run_id, options={"count": "7", "strategy": "bottom"})
    by_row = start_job(house, str(reference), **QUICK)
    prepare(house, by_row)
    rows = rows_laid_ready(house, by_row, tmp_path)
    assert (len(rows), rows) == (7, sorted(rows))
    house.published.clear()
    by_score = start_job(house, f"{reference}&order=score", **QUICK)
    prepare(house, by_score)
    ranked = rows_laid_ready(house, by_score, tmp_path)
    assert ranked != rows
    assert sorted(ranked) == rows
    provenance = job_of(house, by_score).provenance
    assert provenance["run"] == run_id
    assert "strategy=bottom, count=7" in provenance["selection"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x00\x01\x02 not a dataset", "unknown_format"),
        (b'{"instruction": "Add", "output": ""}\n', "no_usable_rows"),
    ],
)
def test_a_file_that_holds_nothing_to_train_on_fails_the_job_and_says_which(
    house: House, data: bytes, code: str
) -> None:
    good, bad = post_file(house, alpaca(4)), post_file(house, data)
    job_id = start_job(house, good, validation_file=bad, **QUICK)
    house.work(trainer(house))
    job = job_of(house, job_id)
    assert job.error is not None
    assert (job.status, job.error.code, job.error.param) == ("failed", code, "validation_file")
    assert house.blobs.names(f"fine_tunes/{job_id}") == []


def test_rows_that_are_none_are_counted_and_told(house: House) -> None:
    broken = b'{"instruction": "Add", "output": ""}\n{"instruction": \n'
    job_id = start_job(
        house,
        post_file(house, alpaca(4) + broken),
        validation_file=post_file(house, alpaca(2) + broken),
        **QUICK,
    )
    prepare(house, job_id)
    job = job_of(house, job_id)
    assert job.rows == 4
    assert job.provenance["rows left out"] == "empty_answer 1, malformed 1"
    assert job.provenance["validation rows left out"] == "empty_answer 1, malformed 1"
    told = [one for one in events_of(house, job_id) if one.type == "fine_tune.warning"]
    assert [one.data for one in told] == 2 * [
        {"rejected_by_reason": {"empty_answer": 1, "malformed": 1}}
    ]
    assert told[0].message.startswith(
        "2 of 6 rows of training_file are left out: empty_answer 1, malformed 1. The first: "
    )
    assert job.provenance["first left out"] in told[0].message


def test_training_goes_on_from_a_checkpoint_that_is_whole_and_with_the_same_base(
    house: House, tmp_path: Path
) -> None:
    job_id = start_job(house, post_file(house, alpaca(4)), **QUICK)
    prepare(house, job_id)
    (wakeup,) = house.published
    source = tmp_path / "checkpoint"
    source.mkdir()
    (source / "weights").write_bytes(b"1")
    mark_complete(source)
    for name in ("weights", MARKER):
        upload(house.blobs, source / name, f"kept/{name}", on_piece=lambda: None)
    with house.database.transaction() as connection:
        first = claim(connection, wakeup.work_id, worker_id="w", lease_s=60, queues=[QUEUE_TRAIN])
        assert first is not None
        for step, folder in ((2, "kept"), (4, "lost")):
            saved = SavedCheckpoint(step=step, folder=folder)
            record_checkpoint(connection, first, saved, metrics={}, keep=2)
        release(connection, first)
    house.execute("""UPDATE fine_tune SET provenance = '{"base revision": "other"}'""")
    trainer(house).run(wakeup.work_id)
    assert house.unit(wakeup.work_id)["error"]["code"] == "revision_mismatch"
    with house.database.transaction() as connection:
        assert [one.step for one in kept_checkpoints(connection, job_id)] == [2]


def test_a_file_that_was_deleted_before_it_was_read_fails_the_job(house: House) -> None:
    file_id = post_file(house, alpaca(4))
    job_id = start_job(house, file_id, **QUICK)
    with house.database.transaction() as connection:
        house.published += delete_file(connection, owner=OWNER, file_id=file_id)
    house.published.reverse()
    house.work(trainer(house))
    error = job_of(house, job_id).error
    assert error is not None
    assert (error.code, error.param) == ("not_found", "training_file")
    assert not house.blobs.exists(f"files/{file_id}/content")


def test_a_file_that_is_deleted_after_it_was_read_is_not_missed(
    house: House, tmp_path: Path
) -> None:
    file_id = post_file(house, alpaca(4))
    job_id = start_job(house, file_id, **QUICK)
    prepare(house, job_id)
    with house.database.transaction() as connection:
        delete_file(connection, owner=OWNER, file_id=file_id)
    house.blobs.delete_tree(f"files/{file_id}")
    assert rows_laid_ready(house, job_id, tmp_path) == [0, 1, 2, 3]


def test_what_the_user_can_change_fails_the_job_at_once_and_says_what(house: House) -> None:
    job_id = start_job(
        house, post_file(house, alpaca(4)), target_modules=("no_such_layer",), **QUICK
    )
    house.work(trainer(house))
    job = job_of(house, job_id)
    assert job.error is not None
    assert (job.status, job.error.param) == ("failed", "target_modules")
    assert "no_such_layer" in job.error.message
    assert folders_in_use(house) == []


def test_a_base_model_that_is_not_here_fails_the_job(house: House) -> None:
    job_id = start_job(house, post_file(house, alpaca(4)), model="no-such-model")
    house.work(trainer(house))
    error = job_of(house, job_id).error
    assert error is not None
    assert (error.code, error.param) == ("model_not_found", "model")


def test_a_training_worker_needs_what_it_trains_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "find_spec", lambda _: None)
    check_trainer(["io", "score"])
    with pytest.raises(DependencyMissing, match=r"winnow\[train\]"):
        check_trainer(["train"])


class ResultBlobs(Blobs):
    """A blob store in which something happens as soon as the first file of a result is written."""

    happens: Callable[[], None]

    @contextmanager
    def write(self, path: str) -> Iterator[BinaryIO]:
        with super().write(path) as file:
            if "/result/" in path:
                self.happens()
            yield file


def test_a_job_that_is_cancelled_while_its_result_is_saved_leaves_none(house: House) -> None:
    job_id = start_job(house, post_file(house, alpaca(8)), adapter="none", **QUICK)
    prepare(house, job_id)
    slow = ResultBlobs(house.blobs.url)

    def cancel() -> None:
        with house.database.transaction() as connection:
            _, wakeups = cancel_fine_tune(connection, owner=OWNER, fine_tune_id=job_id)
        house.published += wakeups
        time.sleep(2 * HEARD_WITHIN_S)

    slow.happens = cancel
    handlers = dict(make_handlers(house.settings, house.database, EngineCache(never)))
    handlers["train"] = replace(handlers["train"], blobs=slow)  # type: ignore[type-var]
    trainer(house, handlers=handlers).run(house.published.pop(0).work_id)
    house.work(trainer(house))
    job = job_of(house, job_id)
    assert (job.status, job.result_files) == ("cancelled", ())
    assert house.blobs.find(f"fine_tunes/{job_id}") == []
    assert house.count("file") == 1
    assert folders_in_use(house) == []


def never(_: RunSpec) -> Engine:
    raise AssertionError("nothing is scored here")
