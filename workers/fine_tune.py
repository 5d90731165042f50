"""Train: one attempt at a fine-tune, in a process of its own that this worker starts, hears and ends.

    fetch    its rows and its newest checkpoint from the blob store, into a folder on this disk
    train    `winnow.training` as a process group; what it says becomes events, steps and checkpoints of the job
    store    the result, file by file and as one archive
    finish   one transaction: the files are the owner's, the job has succeeded

That of a trajectory has no result: what it keeps is stored as it comes (`workers.kept`), and evaluated meanwhile.

Only words of the training process and bytes that move count as progress; a cancel, a pause and a stop of this worker
are heard within a second beside them. Whatever ends the attempt, no process and no folder is left on this machine. Blob
folders bear the token of the lease, so of two workers that both believe they train the job neither writes into the
other's files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from winnow.errors import RevisionMismatch
from winnow.messages import Publish, Wakeup
from winnow.proxy.models import revision
from winnow.settings import Settings
from winnow.store.blobs import Blobs
from winnow.store.evaluation import begin_anew, finish_trajectory_training
from winnow.store.fine_tunes import FineTune, load_fine_tune
from winnow.store.session import Connection, Database
from winnow.store.training import (
    ResultFile,
    SavedCheckpoint,
    finish_train,
    forget_checkpoint,
    kept_checkpoints,
    told_so_far,
)
from winnow.store.trajectories import load_checkpoints, load_trajectory
from winnow.store.work import Claim
from winnow.training.events import Done
from winnow.training.job import (
    CHECKPOINTS,
    RESULT,
    TRAIN_FILE,
    VALIDATION_FILE,
    TrainingJob,
    checkpoints,
)
from winnow.training.names import fine_tuned_name
from winnow.training.process import TrainingProcess
from workers.fine_tuned import ModelFiles
from workers.kept import KeptWeights
from workers.lease import Lease
from workers.prepare import data_folder
from workers.scratch import scratch
from workers.training_log import TrainingLog
from workers.transfer import (
    OnPiece,
    download,
    download_folder,
    files_below,
    upload,
    upload_archive,
)
from workers.unit import Finish

BASE_REVISION = "base revision"
"""Where the provenance of a job says which files its training began with."""

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class TrainHandler:
    """Trains with `threads` cores, which the processes of a job share."""

    settings: Settings
    database: Database
    blobs: Blobs
    models: ModelFiles
    publish: Publish
    threads: int

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Train the job, from its newest checkpoint on.

        Raises:
            ModelError: the base model cannot be used, or is another here than where training began.
            TrainingFailed: for a reason that its owner can change.
            TrainingDied: the process was killed.
            Stalled: it has said nothing for too long.
        """
        with self.database.transaction() as connection:
            job = load_fine_tune(connection, claimed.subject)
            kept = kept_checkpoints(connection, job.id)
            told = told_so_far(connection, job.id)
        name = fine_tuned_name(base=job.spec.model, suffix=job.spec.suffix, job_id=job.id)

        def on_piece() -> None:
            lease.progress(job.step)

        base_folder = self.models.folder(job.spec.model, on_piece=on_piece)
        provenance = job.provenance | {BASE_REVISION: revision(base_folder)}
        with scratch(self.settings.work_folder / "jobs") as folder:
            # Rows first: while the whole blob store is away, no checkpoint counts as lost.
            self._fetch_rows(folder, job, on_piece)
            checkpoint = self._restore(folder, kept, claimed, on_piece)
            if checkpoint is not None:
                _check_base(job, provenance)
            elif self._has_kept(job):
                return partial(begin_anew, claim=claimed)
            TrainingJob(
                spec=job.spec,
                base_folder=base_folder,
                name=name,
                provenance=provenance,
                dtype=None if checkpoint is None else job.hyperparameters.get("dtype"),
            ).write(folder)
            training_log = TrainingLog(
                database=self.database,
                blobs=self.blobs,
                claim=claimed,
                lease=lease,
                folder=folder,
                told=told,
                resumed_from=checkpoint,
                provenance=provenance,
                weights=self._weights(job, claimed, provenance[BASE_REVISION]),
            )
            processes = job.spec.processes
            with TrainingProcess.start(
                folder, processes=processes, threads=self.threads
            ) as training:
                done = training_log.follow(training)
            if job.trajectory_id is not None:
                return _finish_trajectory(claimed, done)
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

    def _has_kept(self, job: FineTune) -> bool:
        """Whether there are checkpoints already of a training that begins with its first step."""
        if job.trajectory_id is None:
            return False
        with self.database.transaction() as connection:
            kept = load_checkpoints(connection, job.trajectory_id)
        return any(checkpoint.step for checkpoint in kept)

    def _weights(self, job: FineTune, claimed: Claim, base_revision: str) -> KeptWeights | None:
        if job.trajectory_id is None:
            return None
        with self.database.transaction() as connection:
            trajectory = load_trajectory(connection, job.trajectory_id)
        return KeptWeights(
            database=self.database,
            blobs=self.blobs,
            publish=self.publish,
            claim=claimed,
            trajectory=trajectory,
            revision=base_revision,
        )

    def _restore(
        self, folder: Path, kept: Sequence[SavedCheckpoint], claimed: Claim, on_piece: OnPiece
    ) -> SavedCheckpoint | None:
        """Fetch the newest checkpoint that is whole; those that are not are forgotten."""
        for checkpoint in kept:
            target = folder / CHECKPOINTS / f"checkpoint-{checkpoint.step}"
            with suppress(FileNotFoundError):
                download_folder(self.blobs, checkpoint.folder, target, on_piece=on_piece)
            if checkpoint.step in checkpoints(folder):
                return checkpoint
            log.warning("checkpoint lost", subject=claimed.subject, folder=checkpoint.folder)
            with self.database.transaction() as connection:
                forget_checkpoint(connection, claimed, checkpoint)
        return None

    def _fetch_rows(self, folder: Path, job: FineTune, on_piece: OnPiece) -> None:
        names = [TRAIN_FILE, *([VALIDATION_FILE] if job.validation_file else [])]
        for file in names:
            blob = f"{data_folder(job.id)}/{file}"
            download(self.blobs, blob, folder / file, on_piece=on_piece)

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


def _finish_trajectory(claimed: Claim, done: Done) -> Finish:
    def finish(connection: Connection) -> Sequence[Wakeup]:
        return finish_trajectory_training(
            connection, claimed, trained_tokens=done.trained_tokens, metrics=done.metrics
        )

    return finish


def _check_base(job: FineTune, provenance: Mapping[str, Any]) -> None:
    if job.provenance.get(BASE_REVISION) != provenance[BASE_REVISION]:
        raise RevisionMismatch(
            f"The files of {job.spec.model} on this worker are not those that training began with. Give every "
            "training worker the same files.",
            param="model",
        )
