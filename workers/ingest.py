"""Ingest: the bytes of an upload become blocks of rows, and every row that cannot be read a rejection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from winnow.messages import Wakeup
from winnow.records.blocks import BlockReader, BlockWriter
from winnow.records.example import BLOCK_ROWS, Rejection
from winnow.records.readers import read_records
from winnow.settings import Settings
from winnow.store.blobs import Blobs
from winnow.store.datasets import load_dataset
from winnow.store.session import Connection, Database
from winnow.store.work import Claim, finish_ingest
from workers.lease import Lease
from workers.unit import Finish


@dataclass(frozen=True, kw_only=True)
class IngestHandler:
    """Reads `datasets/{id}/upload` and writes `datasets/{id}/rows/`, in constant memory."""

    settings: Settings
    database: Database
    blobs: Blobs

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Write the blocks.

        Raises:
            UnknownFormat, DamagedContainer: the upload cannot be read.
        """
        with self.database.transaction() as connection:
            dataset = load_dataset(connection, claimed.subject)
        folder = self.blobs.folder(f"datasets/{dataset.id}/rows")
        with_rejections: set[int] = set()
        with (
            self.blobs.open_read(f"datasets/{dataset.id}/upload") as upload,
            BlockWriter(*folder) as writer,
        ):
            records = read_records(
                upload,
                given=dataset.requested_format,
                max_record_bytes=self.settings.max_record_bytes,
            )
            for record in records:
                writer.write(record)
                if isinstance(record.outcome, Rejection):
                    with_rejections.add(record.row // BLOCK_ROWS)
                if record.row % BLOCK_ROWS == 0:
                    lease.progress(record.row)

        def finish(connection: Connection) -> Sequence[Wakeup]:
            return finish_ingest(
                connection,
                claimed,
                format=str(records.format),
                rows_read=writer.rows_read,
                rows_usable=writer.rows_usable,
                rows_rejected=writer.rows_rejected,
                num_blocks=writer.num_blocks,
                rejections=read_rejections(BlockReader(*folder), sorted(with_rejections)),
            )

        return finish


def read_rejections(reader: BlockReader, blocks: Sequence[int]) -> Iterator[Rejection]:
    """The rejections in these blocks, read back one block at a time: a million of them need not fit into memory."""
    for block in blocks:
        yield from (row for row in reader.outcomes(block) if isinstance(row, Rejection))
