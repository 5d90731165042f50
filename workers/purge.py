"""Purge: blobs that nobody needs any more go away. Deleting what is gone already is no error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from winnow.messages import Wakeup
from winnow.store.blobs import Blobs
from winnow.store.files import blob_of
from winnow.store.fine_tunes import FineTune, load_fine_tune
from winnow.store.purge import in_use, run_ids_of
from winnow.store.session import Connection, Database
from winnow.store.work import Claim, finish_purge
from workers.lease import Lease
from workers.policy import InUse
from workers.unit import Finish


@dataclass(frozen=True, kw_only=True)
class PurgeHandler:
    """Deletes the blobs of a dataset and its runs, of one run, of a file, or of a fine-tune that is over.

    Of a fine-tune its result is kept: it goes away file by file, when its owner deletes them.
    """

    database: Database
    blobs: Blobs

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Delete the files; finishing the unit removes the rows, which say what files there are.

        Raises:
            InUse: a worker still writes to it.
        """
        with self.database.transaction() as connection:
            if in_use(connection, claimed.subject):
                raise InUse(f"a worker still works on {claimed.subject}")
            paths = self._paths(connection, claimed.subject)
        for path in paths:
            self.blobs.delete_tree(path)
            lease.progress(0)

        def finish(connection: Connection) -> Sequence[Wakeup]:
            finish_purge(connection, claimed)
            return []

        return finish

    def _paths(self, connection: Connection, subject: str) -> list[str]:
        prefix = re.split("[_-]", subject, maxsplit=1)[0]
        match prefix:
            case "ds":
                runs = run_ids_of(connection, subject)
                return [f"datasets/{subject}", *(f"runs/{run_id}" for run_id in runs)]
            case "run":
                return [f"runs/{subject}"]
            case "file":
                blob = blob_of(connection, subject)
                return [f"files/{subject}", *([] if blob is None else [blob])]
            case _:
                return self._leftovers(load_fine_tune(connection, subject))

    def _leftovers(self, job: FineTune) -> list[str]:
        """What only the training needed, and results of workers that were too slow."""
        folder = f"fine_tunes/{job.id}"
        results = [f"{folder}/result/{name}" for name in self.blobs.names(f"{folder}/result")]
        unused = [result for result in results if result != job.result]
        return [f"{folder}/data", f"{folder}/checkpoints", *unused]
