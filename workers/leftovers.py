"""Blobs that were stored under a lease, and of which nobody heard whether the database names them.

Recording them may have failed before or after its commit, or the lease was lost meanwhile. They go away only if no
record can come any more; those that this worker cannot ask about go when the training ends (`workers.purge`).
"""

from __future__ import annotations

import structlog

from winnow.store.blobs import Blobs
from winnow.store.session import Database
from winnow.store.training import is_recorded
from winnow.store.work import Claim
from workers.policy import DATABASE_AWAY

log = structlog.get_logger()


def discard_unrecorded(database: Database, blobs: Blobs, claim: Claim, folder: str) -> None:
    """Delete a blob folder that was written under `claim`, unless a checkpoint lies in it."""
    try:
        with database.transaction() as connection:
            recorded = is_recorded(connection, claim, folder)
    except DATABASE_AWAY as error:
        log.warning("blobs left for later", folder=folder, error=type(error).__name__)
        return
    if not recorded:
        blobs.delete_tree(folder)
