"""From a request to the rows it means: which run, which selection, and the tag under which the bytes are known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from service.resources import Resources
from service.runs.results import refuse_dry_run, require_completed
from service.subsets.schemas import SelectionQuery
from winnow.errors import NotFound
from winnow.records.blocks import BlockReader
from winnow.selection.ratio import Selection
from winnow.store.blobs import Blobs
from winnow.store.datasets import Dataset, get_dataset
from winnow.store.runs import Run, get_run, newest_run
from winnow.store.session import Connection

BYTES_VERSION = 1
"""Part of every tag: raised when the same selection is written in other bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A completed run, its dataset, and what is selected from it."""

    run: Run
    dataset: Dataset
    selection: Selection

    def etag(self, **form: str | None) -> str:
        """A strong tag: equal choices in an equal form have equal bytes."""
        ratio = self.selection.ratio
        canonical = {
            "version": BYTES_VERSION,
            "run": self.run.id,
            "revision": self.run.revision,
            "dataset": self.dataset.sha256,
            "selection": self.selection.as_dict()
            | {"ratio": None if ratio is None else f"{ratio.normalize():f}"},
            "form": form,
        }
        digest = hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()
        return f'"{digest}"'

    def blocks(self, blobs: Blobs) -> BlockReader:
        """The records of the dataset."""
        return BlockReader(*blobs.folder(f"datasets/{self.dataset.id}/rows"))


def choose(resources: Resources, query: SelectionQuery, *, owner: str) -> Choice:
    """Find the run that a request means, and check its selection.

    Raises:
        NotFound: the owner has no such run.
        ScoresNotReady: the run still works.
        RunNotUsable: the run that was named failed, was cancelled, or is a dry run.
        InvalidOption: the selection contradicts itself.
    """
    with resources.database.transaction() as connection:
        run = _run(connection, query, owner)
        # Before its dataset, which may be gone already.
        refuse_dry_run(run)
        dataset = get_dataset(connection, owner=owner, dataset_id=run.dataset_id)
    selection = query.selection(run.method)
    require_completed(run)
    return Choice(run=run, dataset=dataset, selection=selection)


def _run(connection: Connection, query: SelectionQuery, owner: str) -> Run:
    if query.run is None:
        return newest_run(connection, owner=owner, dataset_id=query.dataset, method=query.method)
    run = get_run(connection, owner=owner, run_id=query.run)
    if query.dataset not in {None, run.dataset_id}:
        raise NotFound(
            f"The run {run.id} is not of the dataset {query.dataset!r}.", param="dataset"
        )
    if query.method not in {None, run.method}:
        raise NotFound(f"The run {run.id} has the method {run.method}.", param="method")
    return run
