"""Estimate: a sample of a dataset goes through the tokenizer, and some of it through the model, for a dry run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from winnow.estimate import estimate, first_rows
from winnow.messages import Wakeup
from winnow.records.blocks import BlockReader
from winnow.scoring import window
from winnow.store.blobs import Blobs
from winnow.store.datasets import load_dataset
from winnow.store.runs import adopt_revision, load_run
from winnow.store.session import Connection, Database
from winnow.store.work import Claim, finish_estimate
from winnow.store.workers_registry import live_workers
from workers.engines import EngineCache
from workers.lease import Lease
from workers.unit import Finish


@dataclass(frozen=True, kw_only=True)
class EstimateHandler:
    """Samples with the engine of this process, whose time the estimate then is."""

    database: Database
    blobs: Blobs
    engines: EngineCache

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Estimate what the run would do.

        Raises:
            ModelError: the model is missing, unsafe, or not the one that the run was made with.
            InvalidOption: the model lacks what the run asks for.
        """
        with self.database.transaction() as connection:
            run = load_run(connection, claimed.subject)
        engine = self.engines.get(run.spec, on_piece=lease.go_on)
        with self.database.transaction() as connection:
            adopt_revision(connection, run.id, engine.revision, window(engine, run.spec))
            offered = [run.offer.queue in worker.queues for worker in live_workers(connection)]
            dataset = load_dataset(connection, run.dataset_id)
        blocks = BlockReader(*self.blobs.folder(f"datasets/{dataset.id}/rows"))
        found = estimate(blocks, engine=engine, spec=run.spec, on_rows=lease.progress)
        found = replace(
            found,
            workers=max(1, sum(offered)),
            format=dataset.format,
            first_rows=first_rows(blocks),
        )

        def finish(connection: Connection) -> Sequence[Wakeup]:
            return finish_estimate(connection, claimed, found)

        return finish
