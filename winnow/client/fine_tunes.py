"""Fine-tuning jobs: from a subset to a model."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Unpack

import orjson

from winnow.client.connection import (
    PATIENCE_S,
    PAUSE_S,
    error_of,
    failure,
    idempotency_key,
)
from winnow.client.files import Files
from winnow.client.values import FINE_TUNE, Data, FineTune, FineTuneOptions
from winnow.errors import Conflict, InvalidOption, ServiceError, ServiceUnreachable

JOBS = "/v1/fine_tuning/jobs"
HYPERPARAMETERS = ("n_epochs", "batch_size", "learning_rate_multiplier")
TOP_LEVEL = ("seed", "suffix", "metadata")

Event = dict[str, Any]


class FineTunes(Files):
    """`/v1/fine_tuning/jobs`."""

    def fine_tune(
        self,
        data: Data | None = None,
        *,
        training_file: str | None = None,
        validation: Data | None = None,
        model: str | None = None,
        **options: Unpack[FineTuneOptions],
    ) -> FineTune:
        """Start a job on new data, on a file that is there, or on a subset; it trains in the background.

        job = client.fine_tune("train.jsonl", n_epochs=2)
        job = client.fine_tune(training_file="subset:run_...?ratio=0.1", lora_rank=8, merge=True)
        """
        if (data is None) == (training_file is None):
            raise InvalidOption("Give either data or training_file=.", param="training_file")
        given: dict[str, Any] = dict(options)
        body: dict[str, Any] = {
            "model": model or self._json("GET", "/models")["data"][0]["id"],
            "training_file": training_file if data is None else self.add_file(data).id,
        }
        if validation is not None:
            body["validation_file"] = self.add_file(validation).id
        body |= {name: given.pop(name) for name in TOP_LEVEL if name in given}
        chosen = {name: given.pop(name) for name in HYPERPARAMETERS if name in given}
        body["method"] = {"type": "supervised", "supervised": {"hyperparameters": chosen}}
        made = self._json("POST", JOBS, json=body | {"winnow": given}, headers=idempotency_key())
        return FINE_TUNE.validate_python(made)

    def job(self, job_id: str) -> FineTune:
        """One job, as it is now."""
        return FINE_TUNE.validate_python(self._json("GET", f"{JOBS}/{job_id}"))

    def jobs(self) -> Iterator[FineTune]:
        """Your jobs, the newest first."""
        return (FINE_TUNE.validate_python(item) for item in self._pages(JOBS, key="id"))

    def cancel_job(self, job_id: str) -> FineTune:
        """End a job for good."""
        return self._act(job_id, "cancel")

    def pause_job(self, job_id: str) -> FineTune:
        """Stop a job at a checkpoint, to go on with it later."""
        return self._act(job_id, "pause")

    def resume_job(self, job_id: str) -> FineTune:
        """Go on with a job that was paused."""
        return self._act(job_id, "resume")

    def job_events(self, job_id: str, *, limit: int = 100) -> list[Event]:
        """The last things that happened to a job, the newest first."""
        page = self._json("GET", f"{JOBS}/{job_id}/events", params={"limit": limit})
        events: list[Event] = page["data"]
        return events

    def follow(self, job_id: str) -> Iterator[Event]:
        """What happened to a job and what happens, until it ends. A service that restarts is waited for.

        The events are those of the API: `message`, `data` with step and losses, and `winnow` with `seq` and `type`.
        """
        last, away_since = 0, None
        while True:
            # Asked first: a job that ends while a stream is taken up again still has events to tell.
            over = self.job(job_id).over
            try:
                for event in self._events(job_id, after=last):
                    last, away_since = event["winnow"]["seq"], None
                    yield event
            except (ServiceUnreachable, ServiceError):
                now = time.monotonic()
                away_since = away_since or now
                if not last or now - away_since > PATIENCE_S:
                    raise
                time.sleep(PAUSE_S)
            else:
                away_since = None
                if over:
                    return

    def wait_for_job(
        self, job: FineTune | str, *, on_event: Callable[[Event], None] = lambda _: None
    ) -> FineTune:
        """Follow a job until it has succeeded; `on_event` hears every event.

        Raises:
            WinnowError: the job failed, with its code, message and param; `Conflict` if it was cancelled.
        """
        job_id = job if isinstance(job, str) else job.id
        for event in self.follow(job_id):
            on_event(event)
        now = self.job(job_id)
        if now.error is not None:
            raise error_of(now.error.code, now.error.message, now.error.param)
        if now.status != "succeeded":
            raise Conflict(f"The job {job_id} was {now.status}.")
        return now

    def download_result(self, job: FineTune | str, folder: Path | str) -> list[Path]:
        """Write the adapter or model of a job into a new folder, which is there whole or not at all.

        Raises:
            Conflict: the job has not succeeded.
            InvalidOption: there is such a folder, and it is not empty.
        """
        done = self.job(job if isinstance(job, str) else job.id)
        if done.status != "succeeded":
            raise Conflict(
                f"The job {done.id} is {done.status}; only one that succeeded has files."
            )
        target = Path(folder)
        check_new_folder(target)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        try:
            # The first is an archive of the others.
            names = [self._save(file_id, temporary) for file_id in done.result_files[1:]]
            if target.exists():
                target.rmdir()
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return [target / name for name in names]

    def _save(self, file_id: str, folder: Path) -> PurePosixPath:
        name = PurePosixPath(self.file(file_id).filename)
        if name.is_absolute() or ".." in name.parts:
            raise ServiceError(f"The service names a file outside of the folder: {name}.")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        self.download_file(file_id, folder / name)
        return name

    def _act(self, job_id: str, verb: str) -> FineTune:
        return FINE_TUNE.validate_python(self._json("POST", f"{JOBS}/{job_id}/{verb}"))

    def _events(self, job_id: str, *, after: int) -> Iterator[Event]:
        """One stream of events, until the service closes it."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(after)} if after else {})
        with self._stream(f"{JOBS}/{job_id}/events", {}, headers=headers) as response:
            if not response.is_success:
                raise failure(response)
            for line in response.iter_lines():
                if line.startswith("data: "):
                    yield orjson.loads(line.removeprefix("data: "))


def check_new_folder(path: Path) -> None:
    """Refuse a folder that has something in it.

    Raises:
        InvalidOption: it does, or it is a file.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InvalidOption(f"{path} is not an empty folder; name a new one.", param="output")
