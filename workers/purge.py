"""Purge: blobs that nobody needs any more go away. Deleting what is gone already is no error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from winnow.messages import Wakeup
from winnow.store.blobs import Blobs
from winnow.store.files import blob_of
from winnow.store.fine_tunes import FineTune, load_fine_tune
from winnow.store.purge import in_use, run_ids_of, training_ids_of, trajectory_ids_of
from winnow.store.session import Connection, Database
from winnow.store.trajectories import load_checkpoints
from winnow.store.trajectory_progress import NAME_JOINT
from winnow.store.work import Claim, finish_purge
from workers.checkpoints import CheckpointFiles
from workers.lease import Lease
from workers.policy import InUse
from workers.unit import Finish


@dataclass(frozen=True, kw_only=True)
class PurgeHandler:
    """Deletes the blobs of a dataset and what was made of it, of one run, of a file, or of what is over and left some.

    Of a fine-tune its result is kept: it goes away file by file, when its owner deletes them. A trajectory that was
    deleted or did not complete goes away with all it has, a checkpoint that is evaluated with its weights. A subject
    that is a path is one blob: the rows of a selection that another one took the place of.
    """

    database: Database
    blobs: Blobs
    checkpoints: CheckpointFiles

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Delete the files; finishing the unit removes the rows, which say what files there are.

        Raises:
            InUse: a worker still writes to it.
        """
        with self.database.transaction() as connection:
            if in_use(connection, claimed.subject):
                raise InUse(f"a worker still works on {claimed.subject}")
            paths = self._paths(connection, claimed.subject)
        self.checkpoints.remove(claimed.subject)
        for path in paths:
            self.blobs.delete_tree(path)
            lease.progress(0)

        def finish(connection: Connection) -> Sequence[Wakeup]:
            finish_purge(connection, claimed)
            return []

        return finish

    def _paths(self, connection: Connection, subject: str) -> list[str]:
        if "/" in subject:
            return [subject]
        prefix = re.split("[_-]", subject, maxsplit=1)[0]
        match prefix:
            case "ds":
                return [
                    f"datasets/{subject}",
                    *(f"runs/{run_id}" for run_id in run_ids_of(connection, subject)),
                    *(f"trajectories/{id_}" for id_ in trajectory_ids_of(connection, subject)),
                    *(f"fine_tunes/{id_}" for id_ in training_ids_of(connection, subject)),
                ]
            case "run":
                return [f"runs/{subject}"]
            case "file":
                blob = blob_of(connection, subject)
                return [f"files/{subject}", *([] if blob is None else [blob])]
            case "traj":
                return self._of_trajectory(connection, subject)
            case _:
                return self._leftovers(connection, load_fine_tune(connection, subject))

    def _of_trajectory(self, connection: Connection, subject: str) -> list[str]:
        """All of it, or the weights of one checkpoint."""
        trajectory_id, _, position = subject.partition(NAME_JOINT)
        if not position:
            training = training_ids_of(connection, trajectory_id)
            return [f"trajectories/{trajectory_id}", *(f"fine_tunes/{id_}" for id_ in training)]
        folder = load_checkpoints(connection, trajectory_id)[int(position)].folder
        return [] if folder is None else [folder]

    def _leftovers(self, connection: Connection, job: FineTune) -> list[str]:
        """What only the training needed, and what workers that were too slow have stored."""
        folder = f"fine_tunes/{job.id}"
        results = [f"{folder}/result/{name}" for name in self.blobs.names(f"{folder}/result")]
        unused = [result for result in results if result != job.result]
        if job.trajectory_id is not None:
            unused += self._unrecorded(connection, job.trajectory_id)
        return [f"{folder}/data", f"{folder}/checkpoints", *unused]

    def _unrecorded(self, connection: Connection, trajectory_id: str) -> list[str]:
        kept = {one.folder for one in load_checkpoints(connection, trajectory_id)}
        root = f"trajectories/{trajectory_id}/weights"
        return [f"{root}/{name}" for name in self.blobs.names(root) if f"{root}/{name}" not in kept]
