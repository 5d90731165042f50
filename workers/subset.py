"""The rows of a subset, chosen from what a completed run left: its scores and, where they decide, its embeddings."""

from __future__ import annotations

from winnow.embedding import Matrix, comparable
from winnow.records.blocks import BlockReader
from winnow.scores import ScoreTable
from winnow.selection.ratio import Selected, select
from winnow.selection.request import Selection, check_size
from winnow.store.blobs import Blobs
from winnow.store.runs import Run
from workers.embeddings import EmbeddingFiles


def select_rows(blobs: Blobs, run: Run, selection: Selection) -> Selected:
    """Choose them, however long that takes.

    Raises:
        InvalidOption: the run lacks what the strategy needs, or too many rows would be compared.
    """
    check_size(selection, run.rows or 0)

    def points() -> Matrix:
        embeddings = EmbeddingFiles(blobs=blobs, run_id=run.id).read(run.blocks or 0)
        return comparable(embeddings, run.spec.embeddings)

    with blobs.open_read(f"runs/{run.id}/scores.parquet") as file:
        scores = ScoreTable.read(file, columns=selection.columns)
    reader = BlockReader(*blobs.folder(f"datasets/{run.dataset_id}/rows"))
    embedded = run.spec.embeddings is not None
    return select(scores, selection, sources=reader.sources, points=points if embedded else None)
