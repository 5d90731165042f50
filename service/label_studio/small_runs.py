"""A few records scored as a run of their own, and the same records as the same run."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from service.resources import Resources
from service.uploads import DATASETS, discard_unless_known
from winnow.spec import RunSpec
from winnow.store import datasets, runs
from winnow.store.runs import Run
from winnow.store.session import Connection
from winnow.store.small_runs import FORMAT, find_small_run, newest_small_runs

MAX_LOOKED_BYTES = 128 << 20
"""Of records of earlier runs that are read for one request, more than it has itself; what lies further back is scored
once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallRun:
    """What is to be scored: records as JSON `lines`, with which options and model files, and for whom."""

    lines: bytes
    spec: RunSpec
    revision: str | None
    owner: str
    name: str

    @property
    def sha256(self) -> str:
        """What the records are known by."""
        return hashlib.sha256(self.lines).hexdigest()

    def find(self, connection: Connection) -> Run | None:
        """The run, if there is one."""
        return find_small_run(
            connection,
            owner=self.owner,
            sha256=self.sha256,
            spec=self.spec,
            revision=self.revision,
        )

    def start(self, resources: Resources) -> tuple[Run, bool]:
        """The run, and whether it was made just now: of several who ask at once, one makes it."""
        upload_id = DATASETS.new_id()
        with resources.blobs.write(DATASETS.path(upload_id)) as file:
            file.write(self.lines)
        try:
            with resources.database.transaction() as connection:
                dataset, reading = datasets.create_dataset(
                    connection,
                    owner=self.owner,
                    dataset_id=upload_id,
                    name=self.name,
                    sha256=self.sha256,
                    size_bytes=len(self.lines),
                    requested_format=FORMAT,
                    kept=False,
                    settings=resources.settings,
                )
                # Whoever was faster has committed by now: the dataset of these bytes is locked.
                found = self.find(connection)
                if found is not None:
                    return found, False
                run, scoring = runs.create_run(
                    connection,
                    owner=self.owner,
                    dataset_id=dataset.id,
                    spec=self.spec,
                    revision=self.revision,
                    name=self.name,
                    is_sample=True,
                    settings=resources.settings,
                )
            resources.publisher.publish([*reading, *scoring])
        finally:
            discard_unless_known(resources, DATASETS, self.owner, upload_id)
        return run, True


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The run that scores a record, and its row there."""

    run_id: str
    row: int


def find_lines(
    resources: Resources, lines: Collection[bytes], like: SmallRun
) -> dict[bytes, Place]:
    """Where the owner's earlier small runs have these records, of those named and scored as `like` would be.

    Each of `lines` ends in a line feed. The newest runs are read, up to `MAX_LOOKED_BYTES`.
    """
    with resources.database.transaction() as connection:
        newest = newest_small_runs(
            connection, owner=like.owner, name=like.name, spec=like.spec, revision=like.revision
        )
    found: dict[bytes, Place] = {}
    missing, left = set(lines), MAX_LOOKED_BYTES
    for run_id, dataset_id in newest:
        if not missing or left <= 0:
            break
        stored = _lines(resources, dataset_id)
        left -= sum(map(len, stored))
        for row, line in enumerate(stored):
            if line in missing:
                found[line] = Place(run_id=run_id, row=row)
                missing.remove(line)
    return found


def _lines(resources: Resources, dataset_id: str) -> Sequence[bytes]:
    """What a small run was made of; nothing if it was deleted just now."""
    try:
        with resources.blobs.open_read(DATASETS.path(dataset_id)) as file:
            return file.readlines()
    except FileNotFoundError:
        return []
