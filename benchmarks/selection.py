"""Clusters, facility location and selection at size, each beside the obvious alternative in the same run.

    k-means             100 clusters over 1,000,000 trajectories of 12 points; scikit-learn's defaults
    facility location   1,040 of 10,400 points of 384 dimensions; the plain greedy algorithm in numpy, whose picks all
                        cost the same, so a few are timed; and apricot-select's lazy one, from an environment of its own
    selection           a tenth of 1,000,000 stored scores, read from their file; numpy on the columns, already read

Each contestant has a process of its own, since its peak of memory is measured.

    python -m benchmarks.selection [--rows 1000000] [--points 10400] [--apricot PYTHON]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.cluster import KMeans

from benchmarks.report import Figure, table
from winnow.scores import SCORE_SCHEMA, ScoreTable, write_parquet
from winnow.selection.clusters import kmeans
from winnow.selection.facility_location import facility_location
from winnow.selection.ratio import Selection, select

CLUSTERS, POINTS = 100, 12
DIMENSIONS, KEPT = 384, 0.1
PLAIN_PICKS = 10
KIB = 1024
RATIO = "0.1"

Floats = npt.NDArray[np.float32]


def measure(rows: int, points: int, apricot: str | None = None) -> list[Figure]:
    """Every figure of this benchmark."""
    return [*_clustering(rows), *_locating(points, apricot), *_selecting(rows)]


def trajectories(rows: int) -> Floats:
    """Curves that fall from different heights at different rates to different floors, with noise."""
    draw = np.random.default_rng(7)
    start, floor, rate = (
        draw.gamma(shape, scale, (rows, 1)) for shape, scale in ((6, 0.5), (2, 0.3), (2, 1.0))
    )
    curves = floor + start * np.exp(-rate * np.arange(POINTS) / POINTS)
    return np.asarray(curves + draw.normal(0, 0.05, curves.shape), dtype=np.float32)


def embeddings(points: int) -> Floats:
    """Unit vectors around a few hundred centres."""
    draw = np.random.default_rng(8)
    centres = draw.normal(size=(300, DIMENSIONS))
    found = centres[draw.integers(300, size=points)] + draw.normal(0, 0.7, (points, DIMENSIONS))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


def plain_greedy(points: Floats, picks: int) -> list[int]:
    """The greedy algorithm as it is written down: every step asks every row for its gain."""
    squares = (points**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
    similarity = np.exp(-distances / points.shape[1])
    covered = np.zeros(len(points), dtype=np.float32)
    chosen: list[int] = []
    for _ in range(picks):
        gains = np.maximum(similarity - covered, 0).sum(axis=1)
        chosen.append(int(gains.argmax()))
        covered = np.maximum(covered, similarity[chosen[-1]])
    return chosen


CONTESTANTS: dict[str, Callable[[int], Callable[[], Any]]] = {
    "kmeans": lambda rows: _with(
        trajectories(rows), lambda data: kmeans(data, num_clusters=CLUSTERS)
    ),
    "scikit-learn": lambda rows: _with(
        trajectories(rows), lambda data: KMeans(CLUSTERS, random_state=42).fit_predict(data)
    ),
    "facility_location": lambda points: _with(
        embeddings(points), lambda data: facility_location(data, int(KEPT * len(data)))
    ),
    "plain_greedy": lambda points: _with(
        embeddings(points), lambda data: plain_greedy(data, PLAIN_PICKS)
    ),
}


def _with(data: Floats, work: Callable[[Floats], Any]) -> Callable[[], Any]:
    return lambda: work(data)


def _alone(contestant: str, size: int) -> tuple[float, float]:
    """Seconds and the peak of memory in MiB of a contestant in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.selection", "--contestant", contestant, str(size)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return said["seconds"], said["mib"]


def _run(contestant: str, size: int) -> None:
    work = CONTESTANTS[contestant](size)
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB
    print(json.dumps({"seconds": seconds, "mib": mib}))


def _clustering(rows: int) -> list[Figure]:
    ours, theirs = _alone("kmeans", rows), _alone("scikit-learn", rows)
    what = f"k-means, {CLUSTERS} clusters over {rows:,} x {POINTS}"
    return _beside(what, ours, "scikit-learn's defaults", theirs)


def _locating(points: int, apricot: str | None) -> list[Figure]:
    ours, plain = _alone("facility_location", points), _alone("plain_greedy", points)
    picks = int(KEPT * points)
    what = f"facility location, {points:,} x {DIMENSIONS} to {picks:,}"
    baseline = f"plain numpy, {PLAIN_PICKS} picks times {picks // PLAIN_PICKS}"
    figures = _beside(what, ours, baseline, (plain[0] * picks / PLAIN_PICKS, plain[1]))
    if apricot is not None:
        figures += _beside(what, ours, "apricot-select, lazy", _apricot(apricot, points, picks))
    return figures


APRICOT = """
import json, resource, sys, time
import numpy as np
from apricot import FacilityLocationSelection
points = np.load(sys.argv[1])
started = time.perf_counter()
squares = (points ** 2).sum(axis=1)
distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
similarity = np.exp(-distances / points.shape[1])
FacilityLocationSelection(int(sys.argv[2]), metric="precomputed", optimizer="lazy").fit(similarity)
seconds = time.perf_counter() - started
mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "mib": mib}))
"""


def _apricot(python: str, points: int, picks: int) -> tuple[float, float]:
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, embeddings(points))
        command = [python, "-c", APRICOT, file.name, str(picks)]
        said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return said["seconds"], said["mib"]


def _beside(
    what: str, ours: tuple[float, float], baseline: str, theirs: tuple[float, float]
) -> list[Figure]:
    return [
        Figure(what=what, value=ours[0], unit="s", baseline=baseline, baseline_value=theirs[0]),
        Figure(
            what="the same: peak memory of the process",
            value=ours[1],
            unit="MiB",
            baseline=baseline,
            baseline_value=theirs[1],
        ),
    ]


def scores(rows: int) -> pa.Table:
    """Scores, answer tokens and clusters of a run, drawn at random."""
    draw = np.random.default_rng(9)
    tokens = draw.integers(1, 600, rows)
    columns = {
        "row": np.arange(rows),
        "score": draw.normal(0.8, 0.15, rows).round(6),
        "nll_conditioned": draw.gamma(2, 50, rows),
        "tokens_conditioned": tokens,
        "nll_direct": draw.gamma(2, 60, rows),
        "tokens_direct": tokens,
        "flags": np.zeros(rows, dtype=np.int16),
        "cluster": draw.integers(1000, size=rows),
        "cluster_in_source": draw.integers(1000, size=rows),
    }
    arrays = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(rows, field.type)
        for field in SCORE_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=SCORE_SCHEMA)


def _selecting(rows: int) -> list[Figure]:
    stored = scores(rows)
    sources = pa.chunked_array([np.random.default_rng(1).choice(["a", "b", "c"], rows)])
    k = int(rows * float(RATIO))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scores.parquet"
        write_parquet(stored.to_batches(), file)
        return [
            Figure(
                what=f"a tenth of {rows:,} stored rows, file read too: {title}",
                value=_seconds(partial(_select, file, selection, sources)),
                unit="s",
                baseline=f"numpy, {baseline}",
                baseline_value=_seconds(plain),
            )
            for title, selection, baseline, plain in _contests(stored, sources, k)
        ]


def _select(file: Path, selection: Selection, sources: pa.ChunkedArray) -> None:
    table = ScoreTable.read(file, columns=selection.columns)
    select(table, selection, sources=lambda: sources)


def _contests(
    stored: pa.Table, sources: pa.ChunkedArray, k: int
) -> list[tuple[str, Selection, str, Callable[[], Any]]]:
    score = stored.column("score").to_numpy()
    cluster = stored.column("cluster").to_numpy()
    tenth = np.digitize(
        stored.column("tokens_conditioned").to_numpy(),
        np.quantile(stored.column("tokens_conditioned").to_numpy(), np.arange(1, 10) / 10),
    )
    source = sources.to_numpy()
    draw = np.random.default_rng(3)

    def sort() -> npt.NDArray[np.int64]:
        return np.argsort(score, kind="stable")[:k]

    def sort_each(labels: npt.NDArray[Any]) -> Callable[[], Any]:
        def run() -> list[npt.NDArray[np.int64]]:
            names = np.unique(labels)
            return [
                np.argsort(score[labels == name], kind="stable")[: k // len(names)]
                for name in names
            ]

        return run

    by_cluster = "a sort in each cluster"
    return [
        ("top", _selection(strategy="top"), "a sort", sort),
        ("bottom", _selection(strategy="bottom"), "a sort", sort),
        (
            "random",
            _selection(strategy="random"),
            "choice without replacement",
            lambda: draw.choice(len(score), k, replace=False),
        ),
        (
            "cluster_bottom",
            _selection(strategy="cluster_bottom"),
            by_cluster,
            sort_each(cluster),
        ),
        (
            "cluster_balanced",
            _selection(strategy="cluster_balanced"),
            by_cluster,
            sort_each(cluster),
        ),
        (
            "top, per=source",
            _selection(strategy="top", per="source"),
            "a sort in each",
            sort_each(source),
        ),
        (
            "top, stratify=length",
            _selection(strategy="top", stratify="length"),
            "a sort in each",
            sort_each(tenth),
        ),
        (
            "cluster_bottom, per=source",
            _selection(strategy="cluster_bottom", per="source"),
            by_cluster,
            sort_each(cluster),
        ),
    ]


def _selection(**options: Any) -> Selection:
    return Selection.make(ratio=RATIO, **options)


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure clustering and selection.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=10_400)
    parser.add_argument("--apricot", help="a Python that has apricot-select")
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        _run(options.contestant[0], int(options.contestant[1]))
    else:
        print(table(measure(options.rows, options.points, options.apricot)), flush=True)


if __name__ == "__main__":
    main()
