"""Prepare: the rows that a fine-tune names are read once and laid ready, so that every attempt trains on the same.

It needs no model framework, so a file that cannot be used is refused in seconds, while training workers are busy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from winnow.errors import InputError, NotFound, NoUsableRows
from winnow.messages import Wakeup
from winnow.records.example import BLOCK_ROWS, Example, Rejection
from winnow.settings import Settings
from winnow.store.blobs import Blobs
from winnow.store.fine_tune_progress import NewEvent
from winnow.store.fine_tunes import FineTune, load_fine_tune
from winnow.store.session import Connection, Database
from winnow.store.training import finish_prepare
from winnow.store.values import storable
from winnow.store.work import Claim
from winnow.training.job import TRAIN_FILE, VALIDATION_FILE, write_examples
from workers.lease import Lease
from workers.scratch import scratch
from workers.training_data import DataSource
from workers.transfer import upload
from workers.unit import Finish


@dataclass(frozen=True, kw_only=True)
class PrepareHandler:
    """Writes `fine_tunes/{id}/data/`, in constant memory."""

    settings: Settings
    database: Database
    blobs: Blobs

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Read the files of the job.

        Raises:
            InputError: a file cannot be read, or has no row to train on; `param` says which.
            NotFound: a file was deleted.
        """
        with self.database.transaction() as connection:
            job = load_fine_tune(connection, claimed.subject)
        with scratch(self.settings.work_folder / "jobs") as folder:
            training = self._lay_ready(job, "training_file", folder / TRAIN_FILE, lease)
            provenance, events = training.provenance, training.warnings
            if job.validation_file is not None:
                path = folder / VALIDATION_FILE
                validation = self._lay_ready(job, "validation_file", path, lease)
                told = validation.provenance | {"rows": validation.rows}
                provenance |= {f"validation {name}": value for name, value in told.items()}
                events += validation.warnings

        def finish(connection: Connection) -> Sequence[Wakeup]:
            return finish_prepare(
                connection, claimed, events, rows=training.rows, provenance=provenance
            )

        return finish

    def _lay_ready(self, job: FineTune, param: str, path: Path, lease: Lease) -> _LaidReady:
        """Store one file's examples."""
        source = DataSource(
            database=self.database,
            blobs=self.blobs,
            max_record_bytes=self.settings.max_record_bytes,
            lease=lease,
        )
        try:
            name = getattr(job, param)
            data = source.open(name, owner=job.owner)
            sieve = _Sieve(lease)
            rows = write_examples(path, sieve.examples(data.outcomes))
            if rows == 0:
                why = "there is none" if sieve.first is None else sieve.first.detail
                raise NoUsableRows(f"No row can be trained on. The first reason: {why}")
        except (InputError, NotFound) as error:
            # The same words, under the name that the owner gave the file.
            raise type(error)(error.message, param=param) from error
        upload(self.blobs, path, f"{data_folder(job.id)}/{path.name}", on_piece=lease.check)
        provenance = {name: value for name, value in data.provenance.items() if value is not None}
        return _LaidReady(
            rows=rows,
            provenance=provenance | sieve.provenance(),
            warnings=sieve.warnings(param if job.trajectory_id is None else "the dataset"),
        )


def data_folder(fine_tune_id: str) -> str:
    """Where the rows of a fine-tune lie."""
    return f"fine_tunes/{fine_tune_id}/data"


@dataclass(frozen=True, slots=True, kw_only=True)
class _LaidReady:
    """How many examples of a file there are, where they come from, and what its owner should know of the others."""

    rows: int
    provenance: dict[str, Any]
    warnings: list[NewEvent]


@dataclass
class _Sieve:
    """Lets the examples pass, and counts by reason what is none."""

    lease: Lease
    num_read: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: Rejection | None = None

    def examples(self, outcomes: Iterator[Example | Rejection]) -> Iterator[Example]:
        for outcome in outcomes:
            if self.num_read % BLOCK_ROWS == 0:
                self.lease.progress(self.num_read)
            self.num_read += 1
            if isinstance(outcome, Example):
                yield outcome
            else:
                self.reasons[outcome.reason.value] += 1
                self.first = self.first or outcome

    def provenance(self) -> dict[str, str]:
        if self.first is None:
            return {}
        return {"rows left out": self._by_reason(), "first left out": storable(self.first.detail)}

    def warnings(self, whose: str) -> list[NewEvent]:
        if self.first is None:
            return []
        message = (
            f"{self.reasons.total()} of {self.num_read} rows of {whose} are left out: {self._by_reason()}. "
            f"The first: {self.first.detail}"
        )
        return [("fine_tune.warning", message, {"rejected_by_reason": dict(self.reasons)})]

    def _by_reason(self) -> str:
        return ", ".join(f"{reason} {num}" for reason, num in self.reasons.items())
