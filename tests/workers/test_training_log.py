"""What becomes of the words of a training process: told once, under the lease, and saved when it has to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tests.workers.fine_tuning import events_of, job_of, post_file, start_job, steps_told, trainer
from tests.workers.house import OWNER, House, alpaca
from winnow.errors import LeaseLost, TrainingDied
from winnow.messages import QUEUE_TRAIN
from winnow.store.blobs import Blobs
from winnow.store.fine_tunes import cancel_fine_tune, list_checkpoints, pause_fine_tune
from winnow.store.session import Connection, Database
from winnow.store.training import kept_checkpoints, told_so_far
from winnow.store.work import Claim, claim, fail_attempt, release
from winnow.training.events import (
    Crashed,
    Done,
    Evaluated,
    Failed,
    Prepared,
    Saved,
    Step,
    Stopped,
    TrainingEvent,
)
from winnow.training.job import mark_complete
from workers import training_log
from workers.lease import HEARD_WITHIN_S, Lease
from workers.policy import Cancelled, ShuttingDown, Stalled, TrainingFailed, describe
from workers.training_log import TrainingLog

TOTAL = 6
Say = TrainingEvent | Callable[[], None]


def step(number: int) -> Step:
    return Step(
        step=number,
        total_steps=TOTAL,
        epoch=number / TOTAL,
        loss=2.0 - number / 10,
        learning_rate=1e-4,
        tokens_per_s=100.0,
        trained_tokens=50 * number,
        eta_s=float(TOTAL - number),
    )


def prepared(*, resumed_from: int = 0, rejected: int = 0) -> Prepared:
    return Prepared(
        rows_used=8,
        rows_rejected=rejected,
        rejected_by_reason={"prompt_fills_window": rejected} if rejected else {},
        validation_rejected={"not_learned": 1} if rejected else {},
        answers_cut=3 if rejected else 0,
        total_steps=TOTAL,
        resumed_from=resumed_from,
        trained_tokens_planned=300,
        hyperparameters={"n_epochs": 3},
    )


@dataclass
class ScriptedTraining:
    """Implements `workers.training_log.Training`: says its lines one by one; after the last it hangs, or has died.

    A function among the lines is called when it is its turn: what happens around the process. Asked to stop, it saves
    a checkpoint of the last step that it said, as the real one does; unless it is deaf.
    """

    folder: Path
    lines: Sequence[Say]
    returncode: int | None = None
    hangs: bool = False
    keeps_checkpoints: bool = True
    deaf: bool = False
    killed: bool = False
    stopped: bool = False
    _said: int = 0
    _last_words: list[TrainingEvent] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return not self._last_words and (self.stopped or (self._all_said and not self.hangs))

    def events(self, timeout_s: float) -> Iterator[TrainingEvent]:
        if self._last_words:
            yield self._last_words.pop(0)
        elif self._all_said:
            time.sleep(timeout_s / 10)
        else:
            line = self.lines[self._said]
            self._said += 1
            if isinstance(line, TrainingEvent):
                if isinstance(line, Saved) and self.keeps_checkpoints:
                    write_checkpoint(self.folder, line)
                yield line
            else:
                line()

    def ask_to_stop(self) -> None:
        if self.deaf:
            return
        at = max(
            (line.step for line in self.lines[: self._said] if isinstance(line, Step)), default=0
        )
        self._last_words = [saved(at), Stopped(step=at)] if at else [Stopped(step=0)]
        if at:
            write_checkpoint(self.folder, saved(at))
        self.stopped, self.returncode = True, 75

    def kill(self) -> None:
        self.killed = True

    @property
    def _all_said(self) -> bool:
        return self._said == len(self.lines)


def saved(number: int) -> Saved:
    return Saved(step=number, folder=f"checkpoints/checkpoint-{number}")


def write_checkpoint(folder: Path, event: Saved) -> None:
    path = folder / event.folder
    (path / "rng").mkdir(parents=True, exist_ok=True)
    (path / "model.safetensors").write_bytes(b"weights of %d" % event.step)
    (path / "rng" / "state.json").write_bytes(b"{}")
    mark_complete(path)


@dataclass
class Attempt:
    """A job whose turn it is to be trained, and one attempt at it after the other."""

    house: House
    folder: Path
    job_id: str
    work_id: int
    stopping: threading.Event = field(default_factory=threading.Event)
    claimed: Claim | None = None
    training: ScriptedTraining = field(init=False)

    def do(
        self,
        *lines: Say,
        hangs: bool = False,
        keeps_checkpoints: bool = True,
        deaf: bool = False,
        stall_s: float = 60.0,
        database: Database | None = None,
        blobs: Blobs | None = None,
    ) -> None:
        """Follow a process that says these lines; what ends the attempt is raised."""
        claimed = self.take()
        self.training = ScriptedTraining(
            folder=self.folder,
            lines=lines,
            returncode=-9,
            hangs=hangs,
            keeps_checkpoints=keeps_checkpoints,
            deaf=deaf,
        )
        with self.house.database.transaction() as connection:
            told = told_so_far(connection, self.job_id)
            kept = kept_checkpoints(connection, self.job_id)
        with Lease(
            self.house.database, claimed, lease_s=30, stopping=self.stopping, stall_s=stall_s
        ) as lease:
            log = TrainingLog(
                database=database or self.house.database,
                blobs=blobs or self.house.blobs,
                claim=claimed,
                lease=lease,
                folder=self.folder,
                told=told,
                resumed_from=kept[0] if kept else None,
                provenance={},
            )
            log.follow(self.training)

    def take(self) -> Claim:
        with self.house.database.transaction() as connection:
            self.claimed = self._claim(connection, "worker-1")
        return self.claimed

    def take_over(self) -> None:
        """In one transaction, or the first worker might renew its lease in between."""
        expired = "UPDATE work SET lease_expires_at = now() - interval '1 second' WHERE id = :id"
        with self.house.database.transaction() as connection:
            connection.execute(text(expired), {"id": self.work_id})
            self.claimed = self._claim(connection, "worker-2")

    def _claim(self, connection: Connection, worker: str) -> Claim:
        mine = {"worker_id": worker, "lease_s": 30, "queues": {QUEUE_TRAIN}}
        got = claim(connection, self.work_id, **mine)
        assert got is not None
        return got

    def give_back(self) -> None:
        assert self.claimed is not None
        with self.house.database.transaction() as connection:
            release(connection, self.claimed)

    def pause(self) -> None:
        with self.house.database.transaction() as connection:
            pause_fine_tune(connection, owner=OWNER, fine_tune_id=self.job_id)

    def cancel(self) -> None:
        with self.house.database.transaction() as connection:
            cancel_fine_tune(connection, owner=OWNER, fine_tune_id=self.job_id)

    def checkpoints(self) -> list[int]:
        with self.house.database.transaction() as connection:
            page = list_checkpoints(connection, owner=OWNER, fine_tune_id=self.job_id)
        return [one.step for one in page.items]

    def stored(self) -> list[str]:
        """Checkpoints in the blob store, without the tokens in their names."""
        names = self.house.blobs.names(f"fine_tunes/{self.job_id}/checkpoints")
        return [name.partition("-")[0].lstrip("0") for name in names]


@pytest.fixture
def attempt(house: House, tmp_path: Path) -> Attempt:
    job_id = start_job(house, post_file(house, alpaca(8)))
    trainer(house).run(house.published.pop().work_id)
    (wakeup,) = house.published
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "log.txt").write_text("a library said this\n")
    return Attempt(house, folder, job_id, wakeup.work_id)


def test_steps_losses_and_what_auto_came_to_stand_on_the_job(attempt: Attempt) -> None:
    attempt.do(prepared(), step(1), step(4), Evaluated(step=4, loss=1.25), done())
    job = job_of(attempt.house, attempt.job_id)
    assert (job.step, job.total_steps, job.trained_tokens) == (4, TOTAL, 200)
    assert job.hyperparameters == {"n_epochs": 3}
    assert job.estimated_finish is not None
    assert 0 < job.estimated_finish - time.time() < 10
    told = {event.type: event for event in events_of(attempt.house, attempt.job_id)}
    assert told["fine_tune.step"].data["learning_rate"] == 1e-4
    assert told["fine_tune.step"].message == "Step 4/6: training loss=1.6000"
    assert told["fine_tune.eval"].data == {"step": 4, "loss": 1.25}


def test_rows_with_nothing_to_learn_are_a_warning(attempt: Attempt) -> None:
    attempt.do(prepared(rejected=2), done())
    warnings = events_of(attempt.house, attempt.job_id)[-3:]
    assert {warning.type for warning in warnings} == {"fine_tune.warning"}
    assert [warning.message for warning in warnings] == [
        "2 of 10 rows have nothing to learn from: prompt_fills_window 2.",
        "1 validation rows have nothing to measure the loss on: not_learned 1.",
        "The answers of 3 rows are cut at max_length.",
    ]


def test_steps_that_are_done_again_after_a_crash_are_told_once(attempt: Attempt) -> None:
    with pytest.raises(TrainingDied, match="SIGKILL"):
        attempt.do(prepared(), step(1), step(2), saved(2), step(3), Evaluated(step=3, loss=1.0))
    attempt.give_back()
    again = (step(3), Evaluated(step=3, loss=1.0), step(4), Evaluated(step=4, loss=0.9))
    attempt.do(prepared(resumed_from=2), *again, done())
    assert steps_told(attempt.house, attempt.job_id) == [1, 2, 3, 4]
    events = events_of(attempt.house, attempt.job_id)
    assert [event.data["step"] for event in events if event.type == "fine_tune.eval"] == [3, 4]
    assert "Training goes on from step 2 of 6." in [event.message for event in events]


def test_a_checkpoint_is_stored_whole_and_the_two_newest_are_kept(attempt: Attempt) -> None:
    attempt.do(prepared(), *(line for at in (1, 2, 3) for line in (step(at), saved(at))), done())
    assert attempt.stored() == ["2", "3"]
    assert attempt.checkpoints() == [3, 2, 1]
    with attempt.house.database.transaction() as connection:
        newest, *_ = kept_checkpoints(connection, attempt.job_id)
        page = list_checkpoints(connection, owner=OWNER, fine_tune_id=attempt.job_id)
    assert attempt.house.blobs.find(newest.folder) == [
        "complete.json",
        "model.safetensors",
        "rng/state.json",
    ]
    assert page.items[0].metrics == {"train_loss": 1.7}


def test_a_checkpoint_that_newer_ones_have_replaced_before_it_was_uploaded_is_none(
    attempt: Attempt,
) -> None:
    attempt.do(prepared(), step(1), saved(1), done(), keeps_checkpoints=False)
    assert (attempt.checkpoints(), attempt.stored()) == ([], [])


def test_what_the_process_says_that_it_cannot_do_fails_the_job_in_its_words(
    attempt: Attempt,
) -> None:
    failed = Failed(code="invalid_option", message="No layer is called so.", param="target_modules")
    with pytest.raises(TrainingFailed) as caught:
        attempt.do(prepared(), step(1), failed)
    info = describe(caught.value)
    assert (info.code, info.message, info.param) == (
        "invalid_option",
        "No layer is called so.",
        "target_modules",
    )
    assert steps_told(attempt.house, attempt.job_id) == [1]


def test_a_worker_that_is_asked_to_stop_saves_before_it_goes(attempt: Attempt) -> None:
    with pytest.raises(ShuttingDown):
        attempt.do(prepared(), step(1), step(2), attempt.stopping.set, hangs=True)
    assert attempt.training.stopped
    assert attempt.checkpoints() == [2]


def test_a_pause_saves_a_checkpoint_first(attempt: Attempt) -> None:
    with pytest.raises(Cancelled):
        attempt.do(prepared(), step(1), step(2), attempt.pause, hangs=True)
    assert (attempt.training.stopped, attempt.checkpoints()) == (True, [2])


def test_a_cancel_is_heard_within_seconds_and_nothing_is_told_after_it(attempt: Attempt) -> None:
    cancelled_at = 0.0

    def cancel() -> None:
        nonlocal cancelled_at
        attempt.cancel()
        cancelled_at = time.monotonic()

    with pytest.raises(Cancelled):
        attempt.do(prepared(), step(1), cancel, step(2), hangs=True)
    assert time.monotonic() - cancelled_at < 3
    assert (attempt.training.stopped, attempt.checkpoints()) == (False, [])
    assert events_of(attempt.house, attempt.job_id)[-1].type == "fine_tune.cancelled"


def test_a_cancel_is_heard_while_a_pause_saves(attempt: Attempt) -> None:
    later = threading.Timer(2.0, attempt.cancel)
    later.start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        attempt.do(prepared(), step(1), attempt.pause, hangs=True, deaf=True)
    assert time.monotonic() - began < 5
    assert (attempt.training.killed, attempt.checkpoints()) == (True, [])
    later.join()


def test_a_process_that_does_not_end_is_not_waited_for_for_ever(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_log, "SAVE_S", 0.5)
    with pytest.raises(ShuttingDown):
        attempt.do(prepared(), step(1), attempt.stopping.set, hangs=True, deaf=True)
    assert attempt.training.killed


class CheckpointBlobs(Blobs):
    """A blob store in which something happens as soon as the first file of a checkpoint is written."""

    happens: Callable[[], None]

    @contextmanager
    def write(self, path: str) -> Iterator[BinaryIO]:
        with super().write(path) as file:
            self.happens()
            yield file


@pytest.mark.parametrize(("action", "kept"), [("cancel", []), ("pause", ["1"])])
def test_a_cancel_ends_the_upload_of_a_checkpoint_and_a_pause_does_not(
    attempt: Attempt, action: str, kept: list[str]
) -> None:
    slow = CheckpointBlobs(attempt.house.blobs.url)

    def act() -> None:
        slow.happens = lambda: None
        getattr(attempt, action)()
        time.sleep(2 * HEARD_WITHIN_S)

    slow.happens = act
    with pytest.raises(Cancelled):
        attempt.do(prepared(), step(1), saved(1), hangs=True, blobs=slow)
    assert attempt.stored() == kept


def test_an_error_nobody_foresaw_is_told_and_tried_again(attempt: Attempt) -> None:
    with pytest.raises(TrainingDied, match="ValueError: 3 heads"):
        attempt.do(prepared(), step(1), Crashed(message="ValueError: 3 heads"))
    assert steps_told(attempt.house, attempt.job_id) == [1]


def test_a_process_that_falls_silent_counts_as_hanging(attempt: Attempt) -> None:
    with pytest.raises(Stalled):
        attempt.do(prepared(), step(1), hangs=True, stall_s=1.0)


def test_a_worker_that_lost_its_lease_neither_tells_nor_stores(attempt: Attempt) -> None:
    with pytest.raises(LeaseLost):
        attempt.do(prepared(), step(1), saved(1), attempt.take_over, step(2), saved(2), done())
    assert steps_told(attempt.house, attempt.job_id) == [1]
    assert attempt.checkpoints() == [1]


def test_a_checkpoint_of_a_worker_that_lost_its_lease_is_removed(attempt: Attempt) -> None:
    with pytest.raises(LeaseLost):
        attempt.do(prepared(), step(1), saved(1), attempt.take_over, saved(2))
    assert attempt.stored() == ["1"]


class AwayDatabase(Database):
    """A database whose next transactions fail."""

    outages = 0

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        if self.outages:
            self.outages -= 1
            raise OperationalError("UPDATE work", {}, Exception("terminating connection"))
        with super().transaction() as connection:
            yield connection


def test_a_database_that_is_away_is_waited_for(attempt: Attempt) -> None:
    shaky = AwayDatabase(attempt.house.database.url)

    def go_away() -> None:
        shaky.outages = 3

    attempt.do(prepared(), step(1), go_away, step(2), step(3), done(), database=shaky)
    assert steps_told(attempt.house, attempt.job_id) == [1, 2, 3]
    shaky.dispose()


def test_an_attempt_that_fails_after_a_new_checkpoint_is_the_first_again(attempt: Attempt) -> None:
    for at in range(1, attempt.house.settings.max_attempts + 2):
        with pytest.raises(TrainingDied) as died:
            attempt.do(prepared(), step(at), saved(at))
        assert attempt.claimed is not None
        with attempt.house.database.transaction() as connection:
            fail_attempt(connection, attempt.claimed, describe(died.value), permanent=False)
        attempt.house.execute("UPDATE work SET available_at = now()")
    job = job_of(attempt.house, attempt.job_id)
    assert job.status == "running"


def done() -> Done:
    return Done(trained_tokens=300, metrics={"last_loss": 1.0})
