"""Finalise: the scores of a finished run go into one file, which every download and selection reads, and a summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa

from winnow.messages import Wakeup
from winnow.scores import write_parquet
from winnow.store.blobs import Blobs
from winnow.store.scores import copy_scores
from winnow.store.session import Connection, Database
from winnow.store.work import Claim, finish_finalise
from workers.lease import Lease
from workers.summary import Summary, warnings
from workers.unit import Finish


@dataclass(frozen=True, kw_only=True)
class FinaliseHandler:
    """Copies scores from the database to `runs/{id}/scores.parquet`, batch by batch, in row order."""

    database: Database
    blobs: Blobs

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Write the file; it is put in place when it is whole."""
        summary = Summary()
        with (
            self.database.transaction() as connection,
            # A COPY that is left in the middle must be ended before the transaction can be.
            closing(copy_scores(connection, claimed.subject)) as batches,
            self.blobs.write(f"runs/{claimed.subject}/scores.parquet") as file,
        ):
            write_parquet(_counted(batches, summary, lease), file)
        numbers = summary.as_dict()

        def finish(connection: Connection) -> Sequence[Wakeup]:
            return finish_finalise(connection, claimed, summary=numbers, warnings=warnings(numbers))

        return finish


def _counted(
    batches: Iterator[pa.RecordBatch], summary: Summary, lease: Lease
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        summary.add(batch)
        lease.progress(summary.num_rows)
        yield batch
