"""What a training process says, kept: events and progress in the database, checkpoints in the blob store.

Everything is written under the lease of the unit, so a worker that lost it writes nothing more.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from winnow.errors import TrainingDied
from winnow.store.blobs import Blobs
from winnow.store.fine_tune_progress import NewEvent
from winnow.store.fine_tunes import load_fine_tune
from winnow.store.session import Connection, Database
from winnow.store.training import (
    SavedCheckpoint,
    StepsDone,
    Told,
    record_checkpoint,
    record_plan,
    record_steps,
)
from winnow.store.values import ErrorInfo
from winnow.store.work import Claim
from winnow.training.events import (
    Done,
    Evaluated,
    Failed,
    Prepared,
    Saved,
    Step,
    Stopped,
    TrainingEvent,
)
from winnow.training.job import LOG_FILE, checkpoints
from workers.lease import Lease
from workers.policy import DATABASE_AWAY, Cancelled, ShuttingDown, TrainingFailed
from workers.transfer import files_below, upload

LISTEN_S = 0.25
"""How long the process is listened to before the lease is asked whether to go on."""

SAVE_S = 60.0
"""How long a process that is asked to end may take to save a checkpoint. A supervisor may kill the worker earlier."""

KEEP = 2
"""Checkpoints of a job that are kept."""

RETRY_INTERVAL_S = 0.5
LOG_TAIL_BYTES = 4000

T = TypeVar("T")

log = structlog.get_logger()


class Training(Protocol):
    """A training process as it is followed: `winnow.training.process.TrainingProcess`."""

    @property
    def ended(self) -> bool:
        """Whether it is over, and all that it said was heard."""

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""

    def events(self, timeout_s: float) -> Iterator[TrainingEvent]:
        """What it said since the last call."""

    def stop(self, grace_s: float) -> None:
        """Ask it to save a checkpoint and end; after `grace_s` it is killed."""


@dataclass(kw_only=True)
class TrainingLog:
    """Follows one training process. `told` is what earlier attempts recorded and is not said twice."""

    database: Database
    blobs: Blobs
    claim: Claim
    lease: Lease
    folder: Path
    told: Told
    resumed_from: SavedCheckpoint | None
    _losses: dict[str, float] = field(default_factory=dict)

    def follow(self, training: Training) -> Done:
        """Keep what it says until it is done.

        Raises:
            TrainingFailed: it says that it cannot go on.
            TrainingDied: it ended without a word.
            ShuttingDown, Cancelled, LeaseLost, Stalled: as the lease does. It was ended, and a checkpoint saved if the
                job will go on.
        """
        try:
            while not training.ended:
                if (done := self._hear(training)) is not None:
                    return done
        except ShuttingDown:
            self._save(training)
            raise
        except Cancelled:
            if self._is_paused():
                self._save(training)
            raise
        self._log_tail(training.returncode)
        raise TrainingDied(_how(training.returncode))

    def _hear(self, training: Training) -> Done | None:
        events = list(training.events(LISTEN_S))
        done = self._keep(events)
        if events:
            self.lease.progress(self.told.step)
        else:
            self.lease.check()
        return done

    def _save(self, training: Training) -> None:
        """Have a checkpoint saved, and keep it."""
        training.stop(SAVE_S)
        while not training.ended:
            self._keep(list(training.events(LISTEN_S)))

    def _keep(self, events: Sequence[TrainingEvent]) -> Done | None:
        """Write down what was said, together where it can be."""
        news: list[NewEvent] = []
        last_step: Step | None = None
        for event in events:
            match event:
                case Step():
                    last_step = event
                    news += self._step(event)
                case Evaluated():
                    news += self._evaluated(event)
                case Prepared():
                    self._prepared(event)
                case Saved():
                    self._steps(news, last_step)
                    news, last_step = [], None
                    self._saved(event)
                case Done() | Failed() | Stopped():
                    self._steps(news, last_step)
                    if isinstance(event, Failed):
                        raise TrainingFailed(ErrorInfo(**asdict(event)))
                    return event if isinstance(event, Done) else None
        self._steps(news, last_step)
        return None

    def _prepared(self, event: Prepared) -> None:
        news: list[NewEvent] = []
        if self.resumed_from is not None:
            told = f"Training goes on from step {event.resumed_from} of {event.total_steps}."
            news.append(("fine_tune.running", told, {"step": event.resumed_from}))
        elif event.rows_rejected and self.told.step == 0:
            news.append(_rejections(event))
        self._write(
            lambda connection: record_plan(
                connection,
                self.claim,
                news,
                total_steps=event.total_steps,
                hyperparameters=event.hyperparameters,
            )
        )

    def _step(self, event: Step) -> list[NewEvent]:
        self._losses["train_loss"] = event.loss
        if event.step <= self.told.step:
            return []
        self.told = Told(step=event.step, evaluated=self.told.evaluated)
        message = f"Step {event.step}/{event.total_steps}: training loss={event.loss:.4f}"
        return [("fine_tune.step", message, asdict(event))]

    def _evaluated(self, event: Evaluated) -> list[NewEvent]:
        self._losses["valid_loss"] = event.loss
        if event.step <= self.told.evaluated:
            return []
        self.told = Told(step=self.told.step, evaluated=event.step)
        message = f"Step {event.step}: validation loss={event.loss:.4f}"
        return [("fine_tune.eval", message, asdict(event))]

    def _steps(self, news: Sequence[NewEvent], last: Step | None) -> None:
        """`last`: how far training is; unless it catches up with what was told before."""
        done = None
        if last is not None and last.step == self.told.step:
            done = StepsDone(
                step=last.step,
                total_steps=last.total_steps,
                trained_tokens=last.trained_tokens,
                eta_s=last.eta_s,
            )
        if news or done is not None:
            self._write(lambda connection: record_steps(connection, self.claim, news, done))

    def _saved(self, event: Saved) -> None:
        if self.resumed_from is not None and event.step <= self.resumed_from.step:
            return
        job = f"fine_tunes/{self.claim.subject}"
        blob_folder = f"{job}/checkpoints/{event.step:08d}-{self.claim.lease_token[:8]}"
        if not self._upload_checkpoint(event.step, blob_folder):
            log.warning("checkpoint not kept", subject=self.claim.subject, step=event.step)
            self.blobs.delete_tree(blob_folder)
            return
        saved = SavedCheckpoint(step=event.step, folder=blob_folder)
        metrics = dict(self._losses)
        old = self._write(
            lambda connection: record_checkpoint(
                connection, self.claim, saved, metrics=metrics, keep=KEEP
            )
        )
        for folder in old:
            self.blobs.delete_tree(folder)

    def _upload_checkpoint(self, step: int, blob_folder: str) -> bool:
        """Whether it was complete from the first file to the last: newer ones may take its place meanwhile."""
        source = checkpoints(self.folder).get(step)
        if source is None:
            return False
        try:
            for name in files_below(source):
                upload(self.blobs, source / name, f"{blob_folder}/{name}", on_piece=_go_on)
        except FileNotFoundError:
            return False
        return step in checkpoints(self.folder)

    def _is_paused(self) -> bool:
        def paused(connection: Connection) -> bool:
            return load_fine_tune(connection, self.claim.subject).status == "paused"

        return self._write(paused)

    def _write(self, write: Callable[[Connection], T]) -> T:
        """`write` in one transaction. A database that is away is waited for, while training goes on.

        It cannot give the unit to another worker meanwhile.
        """
        while True:
            try:
                with self.database.transaction() as connection:
                    return write(connection)
            except DATABASE_AWAY as error:
                log.warning("database away", error=type(error).__name__)
                self.lease.check()
                time.sleep(RETRY_INTERVAL_S)

    def _log_tail(self, returncode: int | None) -> None:
        path = self.folder / LOG_FILE
        tail = path.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")
        log.error("training died", subject=self.claim.subject, exit_code=returncode, log=tail)


def _go_on() -> None:
    """A checkpoint is worth its upload even if the job is about to be paused."""


def _rejections(event: Prepared) -> NewEvent:
    reasons = ", ".join(f"{reason} {count}" for reason, count in event.rejected_by_reason.items())
    rows = event.rows_used + event.rows_rejected
    message = f"{event.rows_rejected} of {rows} rows have nothing to learn from: {reasons}."
    return "fine_tune.warning", message, {"rejected_by_reason": dict(event.rejected_by_reason)}


def _how(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        ended = f"by {signal.Signals(-returncode).name}"
    else:
        ended = f"with exit code {returncode}"
    return (
        f"The training process was ended {ended}. If its machine ran out of memory, lower batch_size or max_length; "
        "the worker's log has its last words."
    )
