"""Selection over a stored run, as the gateway makes it: scores and sources read from their files, and rows chosen.

Every strategy is here that needs no new embedding, in every way that it can be shared out. (`facility_location`
compares embeddings with each other, and is a unit of work.) Beside each stands what one would write in numpy over
columns that are in memory already: a sort of the scores, or of the scores by group. It gives each group its share
rounded down, so it chooses nearly the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.records.blocks import BlockReader, BlockWriter
from winnow.records.example import Example, Turn
from winnow.records.record import Record
from winnow.scores import SCORE_SCHEMA, ScoreTable, write_parquet
from winnow.selection.groups import length_labels
from winnow.selection.ratio import Selection, select

RATIO = "0.1"
NUM_CLUSTERS = 1000
SOURCES = ("a", "b", "c")
SHARES: tuple[dict[str, str], ...] = (
    {},
    {"per": "source"},
    {"stratify": "source"},
    {"stratify": "length"},
    {"per": "source", "stratify": "length"},
)
STRATEGIES = ("top", "bottom", "random", "cluster_bottom", "cluster_balanced")
REQUESTS: tuple[dict[str, Any], ...] = (
    *({"strategy": strategy} | share for strategy in STRATEGIES for share in SHARES),
    {"strategy": "cluster_bottom", "quota": "per_cluster"},
    {"strategy": "top", "order": "score"},
    {"strategy": "top", "min_score": 0.5, "max_score": 0.9},
)


def title(request: dict[str, Any]) -> str:
    """A request in the words of the API."""
    return ", ".join(
        str(value) if name == "strategy" else f"{name}={value}" for name, value in request.items()
    )


BY_TITLE = {title(request): request for request in REQUESTS}


def store_run(folder: Path, rows: int) -> None:
    """Write what a run of so many rows leaves: its scores and the rows of its dataset; and the columns for numpy."""
    draw = np.random.default_rng(9)
    tokens = draw.integers(1, 600, rows)
    columns: dict[str, npt.NDArray[Any]] = {
        "row": np.arange(rows),
        "score": draw.normal(0.8, 0.15, rows).round(6),
        "nll_conditioned": draw.gamma(2, 50, rows),
        "tokens_conditioned": tokens,
        "nll_direct": draw.gamma(2, 60, rows),
        "tokens_direct": tokens,
        "flags": np.zeros(rows, dtype=np.int16),
        "cluster": draw.integers(NUM_CLUSTERS, size=rows),
        "cluster_in_source": draw.integers(NUM_CLUSTERS, size=rows),
    }
    arrays = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(rows, field.type)
        for field in SCORE_SCHEMA
    ]
    stored = pa.Table.from_arrays(arrays, schema=SCORE_SCHEMA)
    write_parquet(stored.to_batches(), folder / "scores.parquet")
    source = draw.integers(len(SOURCES), size=rows)
    with BlockWriter(fsspec.filesystem("file"), str(folder / "rows")) as writer:
        for record in _records(source):
            writer.write(record)
    np.savez(
        folder / "columns.npz",
        score=columns["score"],
        cluster=columns["cluster"],
        length=length_labels(tokens.astype(np.float64)),
        source=source,
    )


def _records(source: npt.NDArray[np.int64]) -> Iterator[Record]:
    turns = (Turn(role="user", content="Say hi."), Turn(role="assistant", content="Hi."))
    for row, name in enumerate(source.tolist()):
        example = Example(row=row, turns=turns, source=SOURCES[name])
        yield Record(row=row, outcome=example, raw=b'{"instruction":"Say hi.","output":"Hi."}')


def select_stored(folder: Path, request: dict[str, Any]) -> Callable[[], Any]:
    """Winnow's selection; all that it reads is read while the clock runs."""
    selection = Selection.make(ratio=RATIO, **request)

    def work() -> Any:
        table = ScoreTable.read(folder / "scores.parquet", columns=selection.columns)
        reader = BlockReader(fsspec.filesystem("file"), str(folder / "rows"))
        return select(table, selection, sources=reader.sources)

    return work


def sort_columns(folder: Path, request: dict[str, Any]) -> Callable[[], Any]:
    """Numpy's; the columns are read before."""
    with np.load(folder / "columns.npz") as file:
        columns = dict(file)
    names = [
        *(["source"] if "source" in {request.get("per"), request.get("stratify")} else []),
        *(["length"] if request.get("stratify") == "length" else []),
        *(["cluster"] if request["strategy"].startswith("cluster_") else []),
    ]
    score = columns["score"]
    draw = np.random.default_rng(3)

    def work() -> Any:
        if request["strategy"] in {"random", "cluster_balanced"}:
            keys = draw.random(len(score))
        else:
            keys = np.where(score < 1, -score, np.inf) if request["strategy"] == "top" else score
        if not names:
            return np.argsort(keys, kind="stable")[: int(float(RATIO) * len(keys))]
        labels = [columns[name] for name in names]
        order = np.lexsort((keys, *labels))
        return order[_in_share([label[order] for label in labels])]

    return work


def _in_share(labels: list[npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Of rows in the order of their groups, which belong to the first tenth of their own."""
    begins = np.ones(len(labels[0]), dtype=np.bool_)
    begins[1:] = np.any([label[1:] != label[:-1] for label in labels], axis=0)
    starts = np.flatnonzero(begins)
    sizes = np.diff(starts, append=len(begins))
    place = np.arange(len(begins)) - np.repeat(starts, sizes)
    return np.asarray(place < np.repeat((float(RATIO) * sizes).astype(np.int64), sizes))
