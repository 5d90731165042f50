"""What happens to files and fine-tunes, in steps beside those of `tests.store.story`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.store.story import LEASE_S, OWNER, Story
from winnow.messages import QUEUE_IO, QUEUE_TRAIN, Wakeup
from winnow.store import events, files, fine_tunes, training, work
from winnow.store.events import Event
from winnow.store.files import File
from winnow.store.fine_tunes import FineTune
from winnow.store.training import ResultFile, SavedCheckpoint, StepsDone
from winnow.store.work import Claim
from winnow.training.spec import FineTuneSpec

FINE_TUNES = FineTuneSpec.make(n_epochs=2, suffix="tidy up!")


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Steps on the database of a story."""

    story: Story

    def upload(self, *, owner: str = OWNER, filename: str = "train.jsonl") -> File:
        file_id = files.new_file_id()
        return self.story.do(
            files.create_file,
            owner=owner,
            file_id=file_id,
            filename=filename,
            size_bytes=10,
            purpose="fine-tune",
            sha256="a" * 64,
            blob=f"files/{file_id}/content",
        )

    def create(self, *, owner: str = OWNER, **options: Any) -> tuple[FineTune, list[Wakeup]]:
        training_file = options.pop("training_file", None) or self.upload(owner=owner).id
        return self.story.do(
            fine_tunes.create_fine_tune,
            owner=owner,
            spec=FINE_TUNES,
            training_file=training_file,
            settings=self.story.settings,
            **options,
        )

    def queued(self) -> tuple[FineTune, Wakeup]:
        """A job whose files have been read."""
        job, (wakeup,) = self.create()
        (train,) = self.prepare(self.story.take(wakeup))
        return job, train

    def running(self) -> tuple[FineTune, Claim]:
        """A job that a worker trains."""
        job, train = self.queued()
        return job, self.story.take(train)

    def prepare(self, claim: Claim) -> list[Wakeup]:
        return self.story.do(training.finish_prepare, claim, rows=8, provenance={"file": "x"})

    def step(self, claim: Claim, step: int, *, total_steps: int = 10) -> None:
        news = [("fine_tune.step", f"Step {step}", {"step": step, "loss": 1.5})]
        done = StepsDone(step=step, total_steps=total_steps, trained_tokens=step * 100, eta_s=60)
        self.story.do(training.record_steps, claim, news, done)

    def checkpoint(self, claim: Claim, step: int, *, folder: str | None = None) -> list[str]:
        saved = SavedCheckpoint(step=step, folder=folder or f"checkpoints/{step}")
        return self.story.do(
            training.record_checkpoint, claim, saved, metrics={"train_loss": 1.5}, keep=2
        )

    def succeed(self, claim: Claim) -> list[Wakeup]:
        names = ("all.zip", "model.safetensors")
        return self.story.do(
            training.finish_train,
            claim,
            name=f"ft:winnow-mini:{claim.subject}",
            folder="result/1",
            files=[
                ResultFile(filename=name, size_bytes=5, sha256="b" * 64, blob=f"result/1/{name}")
                for name in names
            ],
            trained_tokens=1000,
            metrics={"last_loss": 1.0},
        )

    def get(self, job: FineTune) -> FineTune:
        return self.story.do(fine_tunes.get_fine_tune, owner=job.owner, fine_tune_id=job.id)

    def events(self, job: FineTune) -> list[Event]:
        return self.story.do(events.list_events, owner=job.owner, subject=job.id, limit=10_000)

    def try_take(
        self, work_id: int, *, worker: str = "w1", lease_s: float = LEASE_S
    ) -> Claim | None:
        queues = (QUEUE_IO, QUEUE_TRAIN)
        return self.story.do(work.claim, work_id, worker_id=worker, lease_s=lease_s, queues=queues)

    def cancel(self, job: FineTune) -> FineTune:
        return self._act(fine_tunes.cancel_fine_tune, job)[0]

    def pause(self, job: FineTune) -> FineTune:
        return self._act(fine_tunes.pause_fine_tune, job)[0]

    def resume(self, job: FineTune) -> tuple[FineTune, list[Wakeup]]:
        return self._act(fine_tunes.resume_fine_tune, job)

    def _act(self, action: Any, job: FineTune) -> tuple[FineTune, list[Wakeup]]:
        return self.story.do(action, owner=job.owner, fine_tune_id=job.id)
