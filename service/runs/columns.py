"""The numbers of a completed run as columns, remembered while somebody looks at it: what pages and figures read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from service.resources import Resources
from service.runs.results import read_scores
from winnow.records.blocks import BlockReader, Rows
from winnow.scores import SCORE_SCHEMA, ScoreTable
from winnow.store.runs import Run

Column = Literal[
    "row", "score", "loss_conditioned", "loss_direct", "tokens_conditioned", "tokens_direct"
]
"""Numbers that every row may have; losses are means in nats per token."""

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]

NO_SOURCE = -1
"""Stands for a row that names no source in an array of codes."""

_STORED = [name for name in SCORE_SCHEMA.names if name != "detail"]
"""Details are sentences, a thousand times as long as the numbers together where many rows were rejected."""


def score_columns(resources: Resources, run: Run) -> ScoreTable:
    """All that is stored of every row of a completed run, but the details of rejections."""
    name = ("scores", run.id)
    return ScoreTable(
        resources.kept.get(name, lambda: read_scores(resources.blobs, run, columns=_STORED).table)
    )


def numbers(scores: ScoreTable, column: Column) -> Floats:
    """One number of every row, NaN where it has none."""
    match column:
        case "loss_conditioned" | "loss_direct":
            side = column.removeprefix("loss_")
            return _floats(scores, f"nll_{side}") / _floats(scores, f"tokens_{side}")
        case _:
            return _floats(scores, column)


def _floats(scores: ScoreTable, name: str) -> Floats:
    values: npt.NDArray[Any] = scores.table.column(name).to_numpy()
    return values.astype(np.float64, copy=False)


@dataclass(frozen=True, slots=True)
class Sources:
    """The source of every row of a dataset: `codes[row]` is a place in `names`, or `NO_SOURCE`."""

    codes: Codes
    names: list[str]

    @property
    def named(self) -> bool:
        """Whether any row names its source."""
        return bool(self.names)

    def of(self, row: int) -> str | None:
        """The source of one row."""
        code = int(self.codes[row])
        return None if code == NO_SOURCE else self.names[code]

    def code(self, name: str) -> int:
        """The code of a source; of "" that of rows that name none. One that no row has is a code that no row has."""
        if not name:
            return NO_SOURCE
        return self.names.index(name) if name in self.names else len(self.names)

    def counts(self, rows: Rows | None = None) -> Counter[int]:
        """How many rows each code has, among these rows or all."""
        codes = self.codes if rows is None else self.codes[rows]
        counts = np.bincount(codes + 1, minlength=len(self.names) + 1).tolist()
        return Counter(dict(enumerate(counts, start=NO_SOURCE)))

    def largest(self, most: int) -> list[tuple[str | None, int]]:
        """At most so many (source, its code) that have a row, the largest first; None: the rows that name none."""
        counts = self.counts()
        found = zip([None, *self.names], range(NO_SOURCE, len(self.names)), strict=True)
        ordered = sorted(found, key=lambda entry: (-counts[entry[1]], entry[0] or ""))
        return [entry for entry in ordered if counts[entry[1]]][:most]


def dataset_sources(resources: Resources, dataset_id: str) -> Sources:
    """The source of every row; a row that was rejected when the dataset was read names none."""
    name = ("sources", dataset_id)
    encoded = resources.kept.get(name, lambda: _encoded(resources, dataset_id))
    codes = encoded.indices.fill_null(NO_SOURCE).to_numpy(zero_copy_only=False)
    return Sources(codes=codes.astype(np.int32, copy=False), names=encoded.dictionary.to_pylist())


def _encoded(resources: Resources, dataset_id: str) -> pa.DictionaryArray:
    sources = records_of(resources, dataset_id).sources()
    return sources.dictionary_encode().unify_dictionaries().combine_chunks()


def records_of(resources: Resources, dataset_id: str) -> BlockReader:
    """The records of a dataset."""
    return BlockReader(*resources.blobs.folder(f"datasets/{dataset_id}/rows"))
