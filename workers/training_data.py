"""What a fine-tune trains on, row by row, and where it comes from.

file-...            an uploaded file
subset:run_...?...  a part of scored data
dataset:ds_...      a whole dataset, to train a trajectory on
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from winnow.errors import InvalidOption
from winnow.records.blocks import BlockReader
from winnow.records.example import BLOCK_ROWS, Example, Rejection
from winnow.records.readers import read_records
from winnow.selection.ratio import Rows
from winnow.selection.reference import SCHEME, SubsetReference
from winnow.store.blobs import Blobs
from winnow.store.datasets import get_dataset, load_dataset
from winnow.store.files import get_file
from winnow.store.fine_tunes import DATASET_PREFIX
from winnow.store.runs import get_run
from winnow.store.session import Database
from workers.lease import Lease
from workers.patience import patiently
from workers.subset import select_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Rows, read once: an example, or why it is none. `provenance` is what the model card says, name by name."""

    outcomes: Iterator[Example | Rejection]
    provenance: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Finds what `training_file` and `validation_file` name, among what their owner has.

    A subset may take long to choose; `lease` is kept alive meanwhile, and may end that.
    """

    database: Database
    blobs: Blobs
    max_record_bytes: int
    lease: Lease

    def open(self, name: str, *, owner: str) -> TrainingData:
        """The data that is named.

        Raises:
            NotFound: the owner has no such file, run or dataset.
            InvalidOption: it names no subset, or one of a run that has no scores.
        """
        if name.startswith(SCHEME):
            return self._subset(SubsetReference.parse(name), owner)
        if name.startswith(DATASET_PREFIX):
            return self._dataset(name.removeprefix(DATASET_PREFIX), owner)
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
        selection = reference.selection(run.method)
        rows = run.rows or 0
        selected = patiently(self.lease, rows, select_rows, self.blobs, run, selection)
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
        outcomes = _rows(self._reader(dataset.id), selected.rows)
        return TrainingData(outcomes=outcomes, provenance=provenance)

    def _dataset(self, dataset_id: str, owner: str) -> TrainingData:
        with self.database.transaction() as connection:
            dataset = get_dataset(connection, owner=owner, dataset_id=dataset_id)
        reader = self._reader(dataset.id)
        outcomes = (one for block in range(reader.num_blocks) for one in reader.outcomes(block))
        provenance = {
            "dataset": dataset.id,
            "dataset name": dataset.name,
            "dataset sha256": dataset.sha256,
        }
        return TrainingData(outcomes=outcomes, provenance=provenance)

    def _reader(self, dataset_id: str) -> BlockReader:
        return BlockReader(*self.blobs.folder(f"datasets/{dataset_id}/rows"))


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
