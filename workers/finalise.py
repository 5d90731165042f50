"""Finalise: the scores of a finished run go into one file, which every download and selection reads, and a summary.

What needs all rows at once is found first: the clusters, of a run that has something to cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from winnow.messages import Wakeup
from winnow.scores import NO_CLUSTER, ScoreTable, write_parquet
from winnow.store.blobs import Blobs
from winnow.store.losses import LossFiles
from winnow.store.runs import Run, load_run
from winnow.store.scores import copy_scores, store_clusters
from winnow.store.session import Connection, Database
from winnow.store.trajectories import load_checkpoints
from winnow.store.work import Claim, finish_finalise
from workers.clusters import Clusters, clusters_of_embeddings, clusters_of_losses
from workers.lease import Lease
from workers.patience import patiently
from workers.summary import Summary, warnings
from workers.unit import Finish

STORED_ROWS = 65_536
"""Clusters that one statement stores."""


@dataclass(frozen=True, kw_only=True)
class FinaliseHandler:
    """Copies scores from the database to `runs/{id}/scores.parquet`, batch by batch, in row order."""

    database: Database
    blobs: Blobs

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Write the file; it is put in place when it is whole."""
        with self.database.transaction() as connection:
            run = load_run(connection, claimed.subject)
        clusters = self._clusters(run, lease)
        summary = Summary()
        with (
            self.database.transaction() as connection,
            # A COPY that is left in the middle must be ended before the transaction can be.
            closing(copy_scores(connection, run.id)) as batches,
            self.blobs.write(f"runs/{run.id}/scores.parquet") as file,
        ):
            write_parquet(_counted(_clustered(batches, clusters), summary, lease), file)
        numbers = summary.as_dict(run.method)

        def finish(connection: Connection) -> Sequence[Wakeup]:
            told = warnings(numbers)
            wakeups = finish_finalise(connection, claimed, summary=numbers, warnings=told)
            if clusters is not None:
                _store(connection, run.id, clusters)
            return wakeups

        return finish

    def _clusters(self, run: Run, lease: Lease) -> Clusters | None:
        rows = run.rows or 0
        if run.method == "s2l" and run.trajectory_id is not None:
            with self.database.transaction() as connection:
                kept = load_checkpoints(connection, run.trajectory_id)
            files = LossFiles(blobs=self.blobs, trajectory_id=run.trajectory_id)
            return patiently(lease, rows, clusters_of_losses, self.blobs, run, files, kept)
        if run.spec.embeddings is None:
            return None
        return patiently(lease, rows, clusters_of_embeddings, self.blobs, run)


def _clustered(
    batches: Iterator[pa.RecordBatch], clusters: Clusters | None
) -> Iterator[pa.RecordBatch]:
    if clusters is None:
        yield from batches
        return
    start = 0
    for batch in batches:
        stop = start + batch.num_rows
        cluster, in_source = (labels[start:stop] for labels in clusters)
        table = ScoreTable(pa.Table.from_batches([batch])).with_clusters(cluster, in_source)
        yield from table.table.combine_chunks().to_batches()
        start = stop


def _counted(
    batches: Iterator[pa.RecordBatch], summary: Summary, lease: Lease
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        summary.add(batch)
        lease.progress(summary.num_rows)
        yield batch


def _store(connection: Connection, run_id: str, clusters: Clusters) -> None:
    """Let the pages of scores, which come from the database, say what the file says."""
    cluster, in_source = clusters
    rows = np.flatnonzero(cluster != NO_CLUSTER)
    for start in range(0, len(rows), STORED_ROWS):
        some = rows[start : start + STORED_ROWS]
        store_clusters(
            connection,
            run_id,
            rows=some.tolist(),
            cluster=cluster[some].tolist(),
            cluster_in_source=[
                None if one == NO_CLUSTER else one for one in in_source[some].tolist()
            ],
        )
