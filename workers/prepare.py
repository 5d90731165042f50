"""Prepare: the rows that a fine-tune names are read once and laid ready, so that every attempt trains on the same.

It needs no model framework, so a file that cannot be used is refused in seconds, while training workers are busy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from winnow.errors import InputError, NotFound, NoUsableRows
from winnow.messages import Wakeup
from winnow.records.example import BLOCK_ROWS, Example
from winnow.settings import Settings
from winnow.store.blobs import Blobs
from winnow.store.fine_tunes import FineTune, load_fine_tune
from winnow.store.session import Connection, Database
from winnow.store.training import finish_prepare
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
            rows, provenance = self._lay_ready(job, "training_file", folder / TRAIN_FILE, lease)
            if job.validation_file is not None:
                validating = folder / VALIDATION_FILE
                num, told = self._lay_ready(job, "validation_file", validating, lease)
                provenance |= {f"validation {name}": value for name, value in told.items()}
                provenance["validation rows"] = num

        def finish(connection: Connection) -> Sequence[Wakeup]:
            return finish_prepare(connection, claimed, rows=rows, provenance=provenance)

        return finish

    def _lay_ready(
        self, job: FineTune, param: str, path: Path, lease: Lease
    ) -> tuple[int, dict[str, Any]]:
        """Store one file's examples; how many there are, and where they come from."""
        source = DataSource(
            database=self.database,
            blobs=self.blobs,
            max_record_bytes=self.settings.max_record_bytes,
        )
        try:
            data = source.open(getattr(job, param), owner=job.owner)
            rows = write_examples(path, _reported(data.examples, lease))
            if rows == 0:
                raise NoUsableRows("No row of the file can be trained on: each needs an answer.")
        except (InputError, NotFound) as error:
            # The same words, under the name that the owner gave the file.
            raise type(error)(error.message, param=param) from error
        upload(self.blobs, path, f"{data_folder(job.id)}/{path.name}", on_piece=lease.check)
        return rows, {name: value for name, value in data.provenance.items() if value is not None}


def data_folder(fine_tune_id: str) -> str:
    """Where the rows of a fine-tune lie."""
    return f"fine_tunes/{fine_tune_id}/data"


def _reported(examples: Iterator[Example], lease: Lease) -> Iterator[Example]:
    for num_read, example in zip(count(), examples, strict=False):
        if num_read % BLOCK_ROWS == 0:
            lease.progress(num_read)
        yield example
