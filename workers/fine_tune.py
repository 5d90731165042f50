"""Train: one attempt at a fine-tune, in a process of its own that this worker starts, hears and ends.

    fetch    its rows and its newest checkpoint from the blob store, into a folder on this disk
    train    `winnow.training` as a process group; what it says becomes events, steps and checkpoints of the job
    store    the result, file by file and as one archive
    finish   one transaction: the files are the owner's, the job has succeeded

Only words of the training process count as progress; a cancel, a pause and a stop of this worker are heard within a
second beside them. Whatever ends the attempt, no process and no folder is left on this machine. Blob folders bear the
token of the lease, so of two workers that both believe they train the job neither writes into the other's files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from winnow.messages import Wakeup
from winnow.settings import Settings
from winnow.store.blobs import Blobs
from winnow.store.fine_tunes import FineTune, load_fine_tune
from winnow.store.session import Connection, Database
from winnow.store.training import (
    ResultFile,
    SavedCheckpoint,
    finish_train,
    newest_checkpoint,
    told_so_far,
)
from winnow.store.work import Claim
from winnow.training.job import CHECKPOINTS, RESULT, TRAIN_FILE, VALIDATION_FILE, TrainingJob
from winnow.training.names import fine_tuned_name
from winnow.training.process import TrainingProcess
from workers.fine_tuned import ModelFiles
from workers.lease import Lease
from workers.prepare import data_folder
from workers.scratch import scratch
from workers.training_log import TrainingLog
from workers.transfer import download, download_folder, files_below, upload, upload_archive
from workers.unit import Finish


@dataclass(frozen=True, kw_only=True)
class TrainHandler:
    """Trains with the cores of this worker: `threads` for each process of a job."""

    settings: Settings
    database: Database
    blobs: Blobs
    models: ModelFiles
    threads: int

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Train the job, from its newest checkpoint on.

        Raises:
            ModelError: the base model cannot be used.
            TrainingFailed: for a reason that its owner can change.
            TrainingDied: the process was killed.
            Stalled: it has said nothing for too long.
        """
        with self.database.transaction() as connection:
            job = load_fine_tune(connection, claimed.subject)
            checkpoint = newest_checkpoint(connection, job.id)
            told = told_so_far(connection, job.id)
        name = fine_tuned_name(base=job.spec.model, suffix=job.spec.suffix, job_id=job.id)
        with scratch(self.settings.work_folder / "jobs") as folder:
            self._fill(folder, job, name, checkpoint, lease)
            training_log = TrainingLog(
                database=self.database,
                blobs=self.blobs,
                claim=claimed,
                lease=lease,
                folder=folder,
                told=told,
                resumed_from=checkpoint,
            )
            processes = job.spec.processes
            with TrainingProcess.start(
                folder, processes=processes, threads=self.threads
            ) as training:
                done = training_log.follow(training)
            result = f"fine_tunes/{job.id}/result/{claimed.lease_token[:8]}"
            files = self._store_result(folder / RESULT, result, job, lease)

        def finish(connection: Connection) -> Sequence[Wakeup]:
            return finish_train(
                connection,
                claimed,
                name=name,
                folder=result,
                files=files,
                trained_tokens=done.trained_tokens,
                metrics=done.metrics,
            )

        return finish

    def _fill(
        self,
        folder: Path,
        job: FineTune,
        name: str,
        checkpoint: SavedCheckpoint | None,
        lease: Lease,
    ) -> None:
        """Put everything that training needs into the folder."""
        base_folder = self.models.folder(job.spec.model)
        TrainingJob(
            spec=job.spec, base_folder=base_folder, name=name, provenance=job.provenance
        ).write(folder)

        def on_piece() -> None:
            lease.progress(job.step)

        names = [TRAIN_FILE, *([VALIDATION_FILE] if job.validation_file else [])]
        for file in names:
            blob = f"{data_folder(job.id)}/{file}"
            download(self.blobs, blob, folder / file, on_piece=on_piece)
        if checkpoint is not None:
            target = folder / CHECKPOINTS / f"checkpoint-{checkpoint.step}"
            download_folder(self.blobs, checkpoint.folder, target, on_piece=on_piece)

    def _store_result(
        self, folder: Path, blob_folder: str, job: FineTune, lease: Lease
    ) -> list[ResultFile]:
        """Upload the result; if that is ended halfway, nothing is left of it."""
        names = files_below(folder)

        def on_piece() -> None:
            lease.progress(job.total_steps or 0)

        archive = f"{job.id}.zip"
        try:
            stored = {
                archive: upload_archive(
                    self.blobs, folder, names, f"{blob_folder}/{archive}", on_piece=on_piece
                )
            }
            for name in names:
                blob = f"{blob_folder}/{name}"
                stored[name] = upload(self.blobs, folder / name, blob, on_piece=on_piece)
        except BaseException:
            self.blobs.delete_tree(blob_folder)
            raise
        return [
            ResultFile(filename=name, size_bytes=one.size_bytes, sha256=one.sha256, blob=one.blob)
            for name, one in stored.items()
        ]
