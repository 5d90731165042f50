"""Score: some blocks of a dataset get their scores, and every row its score or its reason.

A method that asks the proxy has its losses computed here; one that watches it learn reads those of its trajectory.
Where the run has embeddings, the rows of the unit get theirs as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from winnow.embedding import embed_block
from winnow.messages import Wakeup
from winnow.proxy.engine import Engine
from winnow.records.blocks import BlockReader
from winnow.scores import RowScore
from winnow.scoring import NOTHING_KNOWN, score_blocks, window
from winnow.store.blobs import Blobs
from winnow.store.losses import LossFiles
from winnow.store.runs import Run, adopt_revision, load_run
from winnow.store.session import Connection, Database
from winnow.store.span_losses import NO_CACHE, CacheUse
from winnow.store.trajectories import load_checkpoints
from winnow.store.work import Claim, finish_score
from winnow.trajectory import trajectory_scores
from workers.embeddings import EmbeddingFiles
from workers.engines import EmbedderCache, EngineCache
from workers.lease import Lease
from workers.span_cache import UnitCache
from workers.unit import Finish


@dataclass(frozen=True, kw_only=True)
class ScoreHandler:
    """Scores with the engine of this process, which must have the very weights that the run was made with."""

    database: Database
    blobs: Blobs
    engines: EngineCache
    embedders: EmbedderCache

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Score the blocks of the unit.

        Raises:
            ModelError: the model is missing, unsafe, or not the one that the run was made with.
            InvalidOption: the model lacks what the run asks for.
        """
        with self.database.transaction() as connection:
            run = load_run(connection, claimed.subject)
        blocks = range(claimed.first_block, claimed.first_block + claimed.num_blocks)
        if run.trajectory_id is None:
            scores, use = self._compute(run, blocks, lease)
        else:
            scores, use = self._read(run, run.trajectory_id, blocks, lease), NO_CACHE
        if run.spec.embeddings is not None:
            # Rows count as done once: by the slower of the two.
            self._embed(run, blocks, lease, done=0 if run.trajectory_id else len(scores))

        def finish(connection: Connection) -> Sequence[Wakeup]:
            return finish_score(connection, claimed, scores, use)

        return finish

    def _compute(self, run: Run, blocks: range, lease: Lease) -> tuple[list[RowScore], CacheUse]:
        engine = self._engine(run, lease)
        cache = self._cache(run, engine)
        scores: list[RowScore] = []
        for outcomes in score_blocks(
            map(self._reader(run).outcomes, blocks),
            engine=engine,
            spec=run.spec,
            on_rows=lease.progress,
            known=cache or NOTHING_KNOWN,
        ):
            scores += outcomes
        return scores, NO_CACHE if cache is None else cache.use

    def _read(self, run: Run, trajectory_id: str, blocks: range, lease: Lease) -> list[RowScore]:
        with self.database.transaction() as connection:
            kept = load_checkpoints(connection, trajectory_id)
        files = LossFiles(blobs=self.blobs, trajectory_id=trajectory_id)
        scores: list[RowScore] = []
        for block in blocks:
            scores += trajectory_scores(files.read(kept, block), run.spec)
            lease.go_on()
        return scores

    def _embed(self, run: Run, blocks: range, lease: Lease, *, done: int) -> None:
        embedder = self.embedders.get(run.spec, self._engine(run, lease))
        reader, files = self._reader(run), EmbeddingFiles(blobs=self.blobs, run_id=run.id)
        num_before = 0
        for block in blocks:
            rows = reader.outcomes(block)

            def on_rows(num_rows: int, before: int = num_before) -> None:
                lease.progress(max(done, before + num_rows))

            files.write(block, embed_block(rows, embedder, run.spec, on_rows=on_rows))
            num_before += len(rows)

    def _engine(self, run: Run, lease: Lease) -> Engine:
        engine = self.engines.get(run.spec, on_piece=lease.go_on)
        with self.database.transaction() as connection:
            adopt_revision(connection, run.id, engine.revision, window(engine, run.spec))
        return engine

    def _reader(self, run: Run) -> BlockReader:
        return BlockReader(*self.blobs.folder(f"datasets/{run.dataset_id}/rows"))

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
