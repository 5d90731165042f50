"""Purge: the files of a deleted dataset or run go away. Deleting what is gone already is no error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from winnow.errors import Conflict
from winnow.messages import Wakeup
from winnow.store.blobs import Blobs
from winnow.store.purge import in_use, run_ids_of
from winnow.store.session import Connection, Database
from winnow.store.work import Claim, finish_purge
from workers.lease import Lease
from workers.unit import Finish


@dataclass(frozen=True, kw_only=True)
class PurgeHandler:
    """Deletes the blob folders of a dataset and its runs, or of one run."""

    database: Database
    blobs: Blobs

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Delete the files; finishing the unit removes the rows, which say what files there are.

        Raises:
            Conflict: a worker still writes to it; it learns within seconds that it should not.
        """
        with self.database.transaction() as connection:
            if in_use(connection, claimed.subject):
                raise Conflict(f"A worker still works on {claimed.subject}.")
            run_ids = run_ids_of(connection, claimed.subject)
        kind = "datasets" if claimed.subject.startswith("ds_") else "runs"
        for folder in (f"{kind}/{claimed.subject}", *(f"runs/{run_id}" for run_id in run_ids)):
            self.blobs.delete_tree(folder)
            lease.progress(0)

        def finish(connection: Connection) -> Sequence[Wakeup]:
            finish_purge(connection, claimed)
            return []

        return finish
