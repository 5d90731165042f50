"""Index: the records of a dataset get keys, by which tasks of a labelling platform find their rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from winnow.labelling.record_index import index_path, write_index
from winnow.records.blocks import BlockReader
from winnow.store.blobs import Blobs
from winnow.store.record_indexes import finish_index
from winnow.store.work import Claim
from workers.lease import Lease
from workers.unit import Finish


@dataclass(frozen=True, kw_only=True)
class IndexHandler:
    """Reads `datasets/{id}/rows/` and writes the index beside it."""

    blobs: Blobs

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Write the index."""
        reader = BlockReader(*self.blobs.folder(f"datasets/{claimed.subject}/rows"))
        with self.blobs.write(index_path(claimed.subject)) as file:
            write_index(reader, file, on_rows=lease.progress)
        return partial(finish_index, claim=claimed)
