"""A sample of a stored dataset as a dataset of its own, so that two ordinary runs can score it.

Drawn from the rows that can be used, without replacement, by dataset and seed alone; kept in their order. A record is
written as it came in: the container stays (TSV becomes CSV, which it only differs from in a sign), compression goes.

Memory grows with the dataset by a byte a row, which says whether the row can be used. Its records are read a block at a
time, and only the blocks that hold a row of the sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from service.resources import Resources
from service.uploads import DATASETS, Upload, discard_unless_known
from winnow.errors import DatasetNotReady, InvalidOption, NoUsableRows
from winnow.records.blocks import BlockReader
from winnow.records.render import render
from winnow.selection.ratio import Rows
from winnow.store.datasets import Dataset, rejected_rows
from winnow.trust import sample_rows

CONTAINERS = {"csv": "csv", "tsv": "csv", "parquet": "parquet"}


def require_ready(dataset: Dataset) -> None:
    """Refuse a dataset that has no rows to draw from, or none yet.

    Raises:
        DatasetNotReady: it is still being read.
        InvalidOption: it could not be read.
        NoUsableRows: it holds no row that can be scored.
    """
    if dataset.status == "ingesting":
        raise DatasetNotReady(
            f"The dataset {dataset.id} is still being read. Send the request again after Retry-After seconds, "
            f"with dataset={dataset.id} instead of the file if you sent one.",
            param="dataset",
        )
    if dataset.error is not None:
        raise InvalidOption(
            f"The dataset {dataset.id} could not be read: {dataset.error.message}", param="dataset"
        )
    if not dataset.rows_usable:
        raise NoUsableRows(param="dataset")


def draw(resources: Resources, dataset: Dataset, *, sample: int, seed: int) -> Rows:
    """The rows of a sample, ascending; every usable row if there are no more."""
    usable = np.ones(dataset.rows_read or 0, dtype=np.bool_)
    with resources.database.transaction() as connection:
        for rows in rejected_rows(connection, owner=dataset.owner, dataset_id=dataset.id):
            usable[rows] = False
    return sample_rows(usable, sample, seed=seed)


@contextmanager
def written(resources: Resources, dataset: Dataset, rows: Rows) -> Iterator[Upload | None]:
    """The records of these rows as an upload, which goes away again unless it has become a dataset meanwhile.

    None if they are all rows of the dataset: it is its own sample.
    """
    if len(rows) == dataset.rows_read:
        yield None
        return
    upload_id = DATASETS.new_id()
    digest, size_bytes = hashlib.sha256(), 0
    reader = BlockReader(*resources.blobs.folder(f"datasets/{dataset.id}/rows"))
    try:
        with resources.blobs.write(DATASETS.path(upload_id)) as file:
            for piece in render(reader, rows, format=container_of(dataset)):
                digest.update(piece)
                size_bytes += len(piece)
                file.write(piece)
        name = f"{len(rows)} rows of {dataset.name or dataset.id}"
        yield Upload(id=upload_id, sha256=digest.hexdigest(), size_bytes=size_bytes, filename=name)
    finally:
        discard_unless_known(resources, DATASETS, dataset.owner, upload_id)


def container_of(dataset: Dataset) -> str:
    """The format in which a part of a dataset says the same as the whole."""
    found = (dataset.format or "").partition("+")[0]
    return CONTAINERS.get(found, "jsonl")
