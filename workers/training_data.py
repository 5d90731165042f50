"""What a fine-tune trains on, row by row, and where it comes from: an uploaded file, or a subset of scored data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from winnow.errors import InvalidOption
from winnow.records.blocks import BlockReader
from winnow.records.example import BLOCK_ROWS, Example, Rejection
from winnow.records.readers import read_records
from winnow.scores import ScoreTable
from winnow.selection.ratio import Rows, select
from winnow.selection.reference import SCHEME, SubsetReference
from winnow.store.blobs import Blobs
from winnow.store.datasets import load_dataset
from winnow.store.files import get_file
from winnow.store.runs import get_run
from winnow.store.session import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Rows, read once: an example, or why it is none. `provenance` is what the model card says, name by name."""

    outcomes: Iterator[Example | Rejection]
    provenance: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Finds what `training_file` and `validation_file` name, among what their owner has."""

    database: Database
    blobs: Blobs
    max_record_bytes: int

    def open(self, name: str, *, owner: str) -> TrainingData:
        """The data that is named.

        Raises:
            NotFound: the owner has no such file or run.
            InvalidOption: it names no subset, or one of a run that has no scores.
        """
        if name.startswith(SCHEME):
            return self._subset(SubsetReference.parse(name), owner)
        with self.database.transaction() as connection:
            file = get_file(connection, owner=owner, file_id=name)
        provenance = {
            "file": file.id,
            "file name": file.filename,
            "file sha256": file.sha256,
        }
        return TrainingData(outcomes=self._of_file(file.blob), provenance=provenance)

    def _of_file(self, blob: str) -> Iterator[Example | Rejection]:
        with self.blobs.open_read(blob) as stream:
            for record in read_records(stream, max_record_bytes=self.max_record_bytes):
                yield record.outcome

    def _subset(self, reference: SubsetReference, owner: str) -> TrainingData:
        with self.database.transaction() as connection:
            run = get_run(connection, owner=owner, run_id=reference.run_id)
            dataset = load_dataset(connection, run.dataset_id)
        if run.status != "completed":
            raise InvalidOption(
                f"The run {run.id} is {run.status}, and only a completed run has subsets. Wait until it is, or name "
                "another."
            )
        reader = BlockReader(*self.blobs.folder(f"datasets/{dataset.id}/rows"))
        selection = reference.selection(run.method)
        with self.blobs.open_read(f"runs/{run.id}/scores.parquet") as file:
            scores = ScoreTable.read(file, columns=selection.columns)
        selected = select(scores, selection, sources=reader.sources)
        asked = {name: value for name, value in selection.as_dict().items() if value is not None}
        provenance = {
            "dataset": dataset.id,
            "dataset name": dataset.name,
            "dataset sha256": dataset.sha256,
            "run": run.id,
            "method": run.method,
            "proxy model": run.model,
            "proxy revision": run.revision,
            "rows scored": run.rows_scored,
            "rows selected": len(selected.rows),
            "selection": ", ".join(f"{name}={value}" for name, value in asked.items()),
        }
        return TrainingData(outcomes=_rows(reader, selected.rows), provenance=provenance)


def _rows(reader: BlockReader, rows: Rows) -> Iterator[Example]:
    """Examples of these rows, in the order given. Those of another order than the dataset's are held in memory."""
    ascending = np.sort(rows)
    if np.array_equal(ascending, rows):
        return _in_order(reader, rows)
    by_row = {example.row: example for example in _in_order(reader, ascending)}
    return (by_row[row] for row in rows.tolist())


def _in_order(reader: BlockReader, rows: Rows) -> Iterator[Example]:
    for block in np.unique(rows // BLOCK_ROWS).tolist():
        outcomes, first = reader.outcomes(block), block * BLOCK_ROWS
        for row in rows[slice(*np.searchsorted(rows, [first, first + BLOCK_ROWS]))].tolist():
            outcome = outcomes[row - first]
            assert isinstance(outcome, Example)  # noqa: S101  # a rejected row is never selected
            yield outcome
