"""Score: some blocks of a dataset go through the proxy model, and every row gets its score or its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from winnow.messages import Wakeup
from winnow.proxy.engine import Engine
from winnow.records.blocks import BlockReader
from winnow.scores import RowScore
from winnow.scoring import NOTHING_KNOWN, score_blocks, window
from winnow.store.blobs import Blobs
from winnow.store.runs import Run, adopt_revision, load_run
from winnow.store.session import Connection, Database
from winnow.store.span_losses import NO_CACHE
from winnow.store.work import Claim, finish_score
from workers.engines import EngineCache
from workers.lease import Lease
from workers.span_cache import UnitCache
from workers.unit import Finish


@dataclass(frozen=True, kw_only=True)
class ScoreHandler:
    """Scores with the engine of this process, which must have the very weights that the run was made with."""

    database: Database
    blobs: Blobs
    engines: EngineCache

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Score the blocks of the unit.

        Raises:
            ModelError: the model is missing, unsafe, or not the one that the run was made with.
            InvalidOption: the model lacks what the run asks for.
        """
        with self.database.transaction() as connection:
            run = load_run(connection, claimed.subject)
        engine = self.engines.get(run.spec)
        with self.database.transaction() as connection:
            adopt_revision(connection, run.id, engine.revision, window(engine, run.spec))
        reader = BlockReader(*self.blobs.folder(f"datasets/{run.dataset_id}/rows"))
        cache = self._cache(run, engine)
        blocks = range(claimed.first_block, claimed.first_block + claimed.num_blocks)
        scores: list[RowScore] = []
        for outcomes in score_blocks(
            map(reader.outcomes, blocks),
            engine=engine,
            spec=run.spec,
            on_rows=lease.progress,
            known=cache or NOTHING_KNOWN,
        ):
            scores += outcomes

        def finish(connection: Connection) -> Sequence[Wakeup]:
            return finish_score(
                connection, claimed, scores, NO_CACHE if cache is None else cache.use
            )

        return finish

    def _cache(self, run: Run, engine: Engine) -> UnitCache | None:
        if run.cache_snapshot is None:
            return None
        return UnitCache(
            database=self.database,
            owner=run.owner,
            spec=run.spec,
            revision=engine.revision,
            snapshot=run.cache_snapshot,
        )
