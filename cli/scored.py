"""Every row of a dataset scored by any method on this machine: losses, embeddings, clusters, in the order of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from cli.local import Rows, embed_rows, score_rows
from winnow.cores import available_cores
from winnow.embedding import Matrix, comparable
from winnow.proxy.engine import Engine
from winnow.proxy.loading import load_embedder, load_engine
from winnow.scores import SCORE_SCHEMA, ScoreTable, score_batch
from winnow.selection.cluster_rows import cluster_columns
from winnow.settings import Settings
from winnow.spec import RunSpec
from winnow.trajectory import TrajectoryLosses, trajectory_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Scores of all rows, with their clusters if there are any; likewise `points`, whose distances are compared."""

    table: ScoreTable
    points: Matrix | None


def score_all(
    rows: Rows,
    *,
    engine: Engine,
    spec: RunSpec,
    settings: Settings,
    threads: int | None,
    keep_weights: Path | None = None,
) -> Scored:
    """Score rows as a run of the service would; `engine` holds the model of the run.

    Raises:
        WinnowError: training cannot go on, or a model cannot be used; the message says what to change.
    """
    features: Matrix | None = None
    embeddings: Matrix | None = None
    if spec.embeddings is not None:
        embedder = load_embedder(spec, engine, settings=settings)
        features = embeddings = embed_rows(rows, embedder=embedder, spec=spec)
    if spec.trajectory is None:
        table = score_rows(rows, engine=engine, spec=spec)
    else:
        losses = list(_losses(rows, engine, spec, settings, threads, keep_weights))
        batches = [score_batch(trajectory_scores(block, spec)) for block in losses]
        table = ScoreTable(pa.Table.from_batches(batches, schema=SCORE_SCHEMA))
        if spec.method == "s2l":
            features = np.concatenate([block.curves for block in losses])
    if features is not None:
        table = table.with_clusters(*cluster_columns(features, spec, rows.sources()))
    points = None if embeddings is None else comparable(embeddings, spec.embeddings)
    return Scored(table=table, points=points)


def _losses(
    rows: Rows,
    engine: Engine,
    spec: RunSpec,
    settings: Settings,
    threads: int | None,
    keep_weights: Path | None,
) -> Iterator[TrajectoryLosses]:
    from cli.trajectory import shared_cores, trajectory_losses

    training, evaluation = shared_cores(spec, threads or available_cores())

    def load(folder: Path) -> Engine:
        return load_engine(replace(spec, model=str(folder)), settings=settings, threads=evaluation)

    return trajectory_losses(
        rows,
        engine=engine,
        load=load,
        spec=spec,
        threads=training,
        keep=keep_weights,
    )
