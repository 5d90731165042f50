"""The manifest of a subset: provenance, and the selected rows against all.

Not covered: judging. It says that answers are longer or sources missing; whether that is wanted is for the reader.
"""

from __future__ import annotations

import json
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from service.resources import Resources
from service.runs.columns import Floats, dataset_sources, records_of, score_columns
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
from winnow.records.blocks import BlockReader, Rows
from winnow.records.example import Flag
from winnow.scores import FLAG_BITS, NO_CLUSTER, ScoreTable

MAX_SOURCES = 100
HASHING_S = 2.0
"""How long a manifest waits until the records of its dataset are hashed, which is done once."""


def build(resources: Resources, choice: Choice) -> Manifest:
    """Select the rows and describe them.

    Raises:
        InvalidOption, SelectionNotReady, Conflict: as `select_rows`.
    """
    table = score_columns(resources, choice.run)
    selected = select_rows(resources, choice, table)
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
        threshold_row=selected.threshold_row,
        comparison=_compare(table, rows),
        clusters=_clusters(table, rows),
        sources=_sources(resources, choice, rows),
        duplicates=_duplicates(resources, choice, rows),
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
    scored = np.flatnonzero(~np.isnan(table.score))
    tokens, truncated = table.answer_tokens, (table.flags & FLAG_BITS[Flag.TRUNCATED]) != 0
    selected, everything = np.searchsorted(table.row, rows), scored
    return Comparison(
        score={
            "selected": _distribution(table.score[selected]),
            "all": _distribution(table.score[everything]),
        },
        answer_tokens={
            "selected": _distribution(tokens[selected]),
            "all": _distribution(tokens[everything]),
        },
        share_truncated={
            "selected": _share(truncated[selected]),
            "all": _share(truncated[everything]),
        },
    )


def _distribution(values: Floats) -> Distribution:
    if not len(values):
        return Distribution(mean=None, median=None, p90=None, max=None)
    numbers = (values.mean(), np.median(values), np.percentile(values, 90), values.max())
    mean, median, p90, highest = (round(float(number), 6) for number in numbers)
    return Distribution(mean=mean, median=median, p90=p90, max=highest)


def _share(truncated: npt.NDArray[np.bool_]) -> float | None:
    return round(float(truncated.mean()), 6) if len(truncated) else None


def _clusters(table: ScoreTable, rows: Rows) -> ClusterCount | None:
    labels = table.labels("cluster")
    everything = np.unique(labels[labels != NO_CLUSTER])
    if not len(everything):
        return None
    selected = np.unique(labels[np.searchsorted(table.row, rows)])
    return ClusterCount(selected=int(np.isin(selected, everything).sum()), all=len(everything))


def _sources(resources: Resources, choice: Choice, rows: Rows) -> list[SourceCount]:
    """Rows by source, the largest sources first; nothing if no row names one."""
    sources = dataset_sources(resources, choice.dataset.id)
    if not sources.named:
        return []
    selected, everything = sources.counts(rows), sources.counts()
    return [
        SourceCount(source=source, selected=selected[code], all=everything[code])
        for source, code in sources.largest(MAX_SOURCES)
    ]


def _duplicates(resources: Resources, choice: Choice, rows: Rows) -> int | None:
    """Records that repeat an earlier one, as far as 64 bits tell them apart; None while they are still being hashed."""
    hashes = resources.kept.get_soon(
        ("hashes", choice.dataset.id),
        lambda: _hashes(records_of(resources, choice.dataset.id)),
        within_s=HASHING_S,
    )
    return None if hashes is None else len(rows) - len(np.unique(hashes[rows]))


def _hashes(reader: BlockReader) -> npt.NDArray[np.int64]:
    """Eight bytes for every record, by Python's keyed hash: they mean something in this process alone."""
    found = [np.zeros(0, np.int64)]
    for _, records in reader.raw(np.arange(reader.num_rows)):
        found.append(np.fromiter(map(hash, records.to_pylist()), np.int64, len(records)))
    return np.concatenate(found)


def _links(choice: Choice) -> dict[str, str]:
    options = choice.selection.as_dict()
    given = {name: value for name, value in options.items() if value is not None}
    # As JSON writes them, since `subset:` references are read more strictly than queries.
    flags = {name: json.dumps(value) for name, value in given.items() if isinstance(value, bool)}
    query = urlencode({"run": choice.run.id} | given | flags)
    return {"subset": f"/subsets?{query}", "run": f"/runs/{choice.run.id}"}
