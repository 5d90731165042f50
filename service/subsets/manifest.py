"""The manifest of a subset: provenance, and the selected rows against all.

Not covered: judging. It says that answers are longer or sources missing; whether that is wanted is for the reader.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from service.resources import Resources
from service.runs.results import read_scores
from service.runs.schemas import RunOptions
from service.subsets.choice import Choice
from service.subsets.rows import select_rows
from service.subsets.schemas import (
    ClusterCount,
    Comparison,
    DatasetProvenance,
    Distribution,
    Manifest,
    RunProvenance,
    SourceCount,
)
from winnow import __version__
from winnow.records.blocks import BlockReader
from winnow.records.example import Flag
from winnow.scores import FLAG_BITS, NO_CLUSTER, ScoreTable

MAX_SOURCES = 100
COLUMNS = ("row", "score", "tokens_conditioned", "flags", "cluster")

Rows = npt.NDArray[np.int64]


def build(resources: Resources, choice: Choice) -> Manifest:
    """Select the rows and describe them.

    Raises:
        InvalidOption, SelectionNotReady, Conflict: as `select_rows`.
    """
    columns = dict.fromkeys((*COLUMNS, *choice.selection.columns))
    table = read_scores(resources.blobs, choice.run, columns=list(columns))
    selected = select_rows(resources, choice, table)
    reader = choice.blocks(resources.blobs)
    rows = np.sort(selected.rows)
    return Manifest(
        winnow_version=__version__,
        run=_run(choice),
        dataset=_dataset(choice),
        selection=choice.selection.as_dict(),
        rows_read=selected.rows_read,
        rows_wanted=selected.k,
        rows_selected=len(rows),
        taken_by_rule=selected.taken_by_rule,
        threshold=selected.threshold,
        comparison=_compare(table, rows),
        clusters=_clusters(table, rows),
        sources=_sources(reader, rows),
        duplicates=_duplicates(reader, rows),
        links=_links(choice),
    )


def _run(choice: Choice) -> RunProvenance:
    run = choice.run
    return RunProvenance(
        id=run.id,
        name=run.name,
        revision=run.revision,
        window=run.window,
        options=RunOptions.of(run.spec),
        rows_cached=run.rows_cached,
        created_at=int(run.created_at),
        finished_at=None if run.finished_at is None else int(run.finished_at),
    )


def _dataset(choice: Choice) -> DatasetProvenance:
    dataset = choice.dataset
    return DatasetProvenance(
        id=dataset.id,
        name=dataset.name,
        sha256=dataset.sha256,
        format=dataset.format,
        rows_read=dataset.rows_read or 0,
        rows_rejected=dataset.rows_rejected or 0,
    )


def _compare(table: ScoreTable, rows: Rows) -> Comparison:
    scored = table.row[~np.isnan(table.score)]
    parts: dict[Literal["selected", "all"], pa.Table] = {
        "selected": table.take(rows),
        "all": table.take(scored),
    }
    bit = FLAG_BITS[Flag.TRUNCATED]
    return Comparison(
        score={name: _distribution(part, "score") for name, part in parts.items()},
        answer_tokens={
            name: _distribution(part, "tokens_conditioned") for name, part in parts.items()
        },
        share_truncated={name: _share(part, bit) for name, part in parts.items()},
    )


def _distribution(part: pa.Table, column: str) -> Distribution:
    values: npt.NDArray[Any] = part.column(column).to_numpy()
    if not len(values):
        return Distribution(mean=None, median=None, p90=None, max=None)
    numbers = (values.mean(), np.median(values), np.percentile(values, 90), values.max())
    mean, median, p90, highest = (round(float(number), 6) for number in numbers)
    return Distribution(mean=mean, median=median, p90=p90, max=highest)


def _share(part: pa.Table, bit: int) -> float | None:
    flags: npt.NDArray[np.int16] = part.column("flags").to_numpy()
    return round(float(np.count_nonzero(flags & bit)) / len(flags), 6) if len(flags) else None


def _clusters(table: ScoreTable, rows: Rows) -> ClusterCount | None:
    labels = table.labels("cluster")
    everything = np.unique(labels[labels != NO_CLUSTER])
    if not len(everything):
        return None
    selected = np.unique(labels[np.searchsorted(table.row, rows)])
    return ClusterCount(selected=int(np.isin(selected, everything).sum()), all=len(everything))


def _sources(reader: BlockReader, rows: Rows) -> list[SourceCount]:
    """Rows by source, the largest sources first; nothing if no row names one."""
    sources = reader.sources()
    if sources.null_count == len(sources):
        return []
    selected = _counts(sources.take(pa.array(rows)))
    everything = sorted(_counts(sources).items(), key=lambda item: (-item[1], item[0] or ""))
    return [
        SourceCount(source=source, selected=selected.get(source, 0), all=count)
        for source, count in everything[:MAX_SOURCES]
    ]


def _counts(sources: pa.ChunkedArray) -> dict[str | None, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(sources).to_pylist()}


def _duplicates(reader: BlockReader, rows: Rows) -> int:
    """Records that repeat an earlier one. Sixteen bytes a row are held, never the records."""
    seen = {
        hashlib.blake2b(record, digest_size=16).digest()
        for _, records in reader.raw(rows)
        for record in records.to_pylist()
    }
    return len(rows) - len(seen)


def _links(choice: Choice) -> dict[str, str]:
    options = choice.selection.as_dict()
    given = {name: value for name, value in options.items() if value is not None}
    # As JSON writes them, since `subset:` references are read more strictly than queries.
    flags = {name: json.dumps(value) for name, value in given.items() if isinstance(value, bool)}
    query = urlencode({"run": choice.run.id} | given | flags)
    return {"subset": f"/subsets?{query}", "run": f"/runs/{choice.run.id}"}
