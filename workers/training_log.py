"""What a training process says, kept: events and progress in the database, checkpoints in the blob store.

Everything is written under the lease of the unit, so a worker that lost it writes nothing more.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

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
    Crashed,
    Done,
    Evaluated,
    Failed,
    Kept,
    Prepared,
    Saved,
    Step,
    Stopped,
    TrainingEvent,
)
from winnow.training.job import LOG_FILE, checkpoints
from workers.kept import KeptWeights
from workers.lease import Lease
from workers.leftovers import discard_unrecorded
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

    def ask_to_stop(self) -> None:
        """Ask it to save a checkpoint and end."""

    def kill(self) -> None:
        """End it at once; what it said before stays to be heard."""


@dataclass(kw_only=True)
class TrainingLog:
    """Follows one training process. `told` is what earlier attempts recorded and is not said twice.

    `resumed_from` is the checkpoint in its folder, `provenance` where its rows and its base come from. `weights` takes
    what the training of a trajectory keeps; others keep nothing.
    """

    database: Database
    blobs: Blobs
    claim: Claim
    lease: Lease
    folder: Path
    told: Told
    resumed_from: SavedCheckpoint | None
    provenance: Mapping[str, Any]
    weights: KeptWeights | None = None
    _losses: dict[str, float] = field(default_factory=dict)

    def follow(self, training: Training) -> Done:
        """Keep what it says until it is done.

        Raises:
            TrainingFailed: it says that it cannot go on.
            TrainingDied: it ended without a word, or of an error that nobody foresaw.
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
            if not self._is_over():
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
        """Have a checkpoint saved, and keep it, unless the job is cancelled meanwhile."""
        training.ask_to_stop()
        until = time.monotonic() + SAVE_S
        while not training.ended and time.monotonic() < until and not self._is_over():
            self._keep(list(training.events(LISTEN_S)))
        training.kill()
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
                case Saved() | Kept():
                    self._steps(news, last_step)
                    news, last_step = [], None
                    if isinstance(event, Saved):
                        self._saved(event)
                    else:
                        self._kept(event)
                case Done() | Failed() | Crashed() | Stopped():
                    self._steps(news, last_step)
                    return self._ended(event)
        self._steps(news, last_step)
        return None

    def _ended(self, event: Done | Failed | Crashed | Stopped) -> Done | None:
        if isinstance(event, Failed):
            raise TrainingFailed(ErrorInfo(**asdict(event)))
        if isinstance(event, Crashed):
            self._log_tail(None)
            raise TrainingDied(
                f"Training broke off ({event.message}). The worker's log says where."
            )
        return event if isinstance(event, Done) else None

    def _prepared(self, event: Prepared) -> None:
        news: list[NewEvent] = []
        expected = 0 if self.resumed_from is None else self.resumed_from.step
        if event.resumed_from != expected:
            log.warning("checkpoint not used", subject=self.claim.subject, step=expected)
        if event.resumed_from or self.told.step:
            told = f"Training goes on from step {event.resumed_from} of {event.total_steps}."
            news.append(("fine_tune.running", told, {"step": event.resumed_from}))
        else:
            news += _warnings(event)

        def write(connection: Connection) -> None:
            record_plan(
                connection,
                self.claim,
                news,
                total_steps=event.total_steps,
                hyperparameters=event.hyperparameters,
                provenance=self.provenance,
            )
            if self.weights is not None:
                self.weights.prepare(connection, event)

        self._write(write)

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
        try:
            old = self._keep_checkpoint(SavedCheckpoint(step=event.step, folder=blob_folder))
        except BaseException:
            discard_unrecorded(self.database, self.blobs, self.claim, blob_folder)
            raise
        for folder in old:
            self.blobs.delete_tree(folder)

    def _kept(self, event: Kept) -> None:
        if self.weights is not None:
            source = self.folder / event.folder
            self.weights.keep(event, source, write=self._write, on_piece=self._go_on)

    def _keep_checkpoint(self, saved: SavedCheckpoint) -> list[str]:
        """Upload and record it; the blob folders that are not needed any more, which may be its own."""
        if not self._upload_checkpoint(saved.step, saved.folder):
            log.warning("checkpoint not kept", subject=self.claim.subject, step=saved.step)
            return [saved.folder]
        metrics = dict(self._losses)
        return self._write(
            lambda connection: record_checkpoint(
                connection, self.claim, saved, metrics=metrics, keep=KEEP
            )
        )

    def _upload_checkpoint(self, step: int, blob_folder: str) -> bool:
        """Whether it was complete from the first file to the last: newer ones may take its place meanwhile."""
        source = checkpoints(self.folder).get(step)
        if source is None:
            return False
        try:
            for name in files_below(source):
                upload(self.blobs, source / name, f"{blob_folder}/{name}", on_piece=self._go_on)
        except FileNotFoundError:
            return False
        return step in checkpoints(self.folder)

    def _go_on(self) -> None:
        """A checkpoint is worth its upload even if this worker or the job is about to rest."""
        self.lease.alive()
        try:
            self.lease.check()
        except ShuttingDown:
            return
        except Cancelled:
            if self._is_over():
                raise

    def _is_over(self) -> bool:
        def over(connection: Connection) -> bool:
            return not load_fine_tune(connection, self.claim.subject).active

        return self._write(over)

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


def _warnings(event: Prepared) -> list[NewEvent]:
    warnings: list[NewEvent] = []
    if event.rows_rejected:
        rows = event.rows_used + event.rows_rejected
        message = f"{event.rows_rejected} of {rows} rows have nothing to learn from"
        warnings.append(_rejections(message, event.rejected_by_reason))
    if event.validation_rejected:
        num = sum(event.validation_rejected.values())
        message = f"{num} validation rows have nothing to measure the loss on"
        warnings.append(_rejections(message, event.validation_rejected))
    if event.answers_cut:
        message = f"The answers of {event.answers_cut} rows are cut at max_length."
        warnings.append(("fine_tune.warning", message, {"answers_cut": event.answers_cut}))
    return warnings


def _rejections(message: str, by_reason: Mapping[str, int]) -> NewEvent:
    reasons = ", ".join(f"{reason} {count}" for reason, count in by_reason.items())
    data = {"rejected_by_reason": dict(by_reason)}
    return "fine_tune.warning", f"{message}: {reasons}.", data


def _how(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        ended = f"by {signal.Signals(-returncode).name}"
    else:
        ended = f"with exit code {returncode}"
    return (
        f"The training process was ended {ended}. If its machine ran out of memory, lower max_length; "
        "the worker's log has its last words."
    )
