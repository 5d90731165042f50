"""Clusters, facility location and selection at size, each beside the obvious alternative in the same run.

    k-means             100 clusters over 1,000,000 trajectories of 12 points; scikit-learn's KMeans as it comes
    facility location   1,040 of 10,400 points of 384 dimensions; the plain greedy algorithm in numpy, whose picks all
                        cost the same, so a few are timed; and apricot-select's lazy one, from an environment of its own
    selection           a tenth of 1,000,000 stored rows by every strategy that needs no new embedding; numpy on columns
                        that are in memory already (`benchmarks.stored_rows`)

Each contestant has a process of its own, since its peak of memory is measured: all of the process, libraries too, as
Linux tells it in /proc/self/status. (`ru_maxrss` begins with what the process that started it had.)

    python -m benchmarks.selection [--rows 1000000] [--points 10400] [--apricot PYTHON]

PYTHON is that of an environment with apricot-select, whose last release is of 2021 and wants older libraries:

    python3.11 -m venv apricot && apricot/bin/pip install apricot-select 'numpy<2'
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans

from benchmarks import stored_rows
from benchmarks.report import Figure, table
from winnow.selection.clusters import kmeans
from winnow.selection.facility_location import facility_location

CLUSTERS, POINTS = 100, 12
DIMENSIONS, KEPT = 384, 0.1
PLAIN_PICKS = 10
KIB = 1024
STATUS = Path("/proc/self/status")

Floats = npt.NDArray[np.float32]
Cost = tuple[float, float]
"""Seconds, and MiB of memory at the peak."""


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


CONTESTANTS: dict[str, Callable[..., Callable[[], Any]]] = {
    "kmeans": lambda rows: _with(
        trajectories(int(rows)), lambda data: kmeans(data, num_clusters=CLUSTERS)
    ),
    "scikit-learn": lambda rows: _with(
        trajectories(int(rows)), lambda data: KMeans(CLUSTERS, random_state=42).fit_predict(data)
    ),
    "facility_location": lambda points: _with(
        embeddings(int(points)), lambda data: facility_location(data, int(KEPT * len(data)))
    ),
    "plain_greedy": lambda points: _with(
        embeddings(int(points)), lambda data: plain_greedy(data, PLAIN_PICKS)
    ),
    "select_stored": lambda folder, title: stored_rows.select_stored(
        Path(folder), stored_rows.BY_TITLE[title]
    ),
    "sort_columns": lambda folder, title: stored_rows.sort_columns(
        Path(folder), stored_rows.BY_TITLE[title]
    ),
}
"""What prepares each of them, from the words of the command line; the clock runs for what it returns."""


def _with(data: Floats, work: Callable[[Floats], Any]) -> Callable[[], Any]:
    return lambda: work(data)


def alone(contestant: str, *words: str | int) -> Cost:
    """What a contestant costs in a process of its own."""
    command = [*(sys.executable, "-m", "benchmarks.selection", "--contestant", contestant)]
    return _said([*command, *map(str, words)])


def _said(command: list[str]) -> Cost:
    said = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    (peak_kib,) = re.findall(r"VmHWM:\s*(\d+) kB", said["status"])
    return said["seconds"], int(peak_kib) / KIB


def _run(contestant: str, words: list[str]) -> None:
    work = CONTESTANTS[contestant](*words)
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "status": STATUS.read_text()}))


def _clustering(rows: int) -> list[Figure]:
    what = f"k-means, {CLUSTERS} clusters over {rows:,} x {POINTS}"
    return _beside(what, alone("kmeans", rows), "scikit-learn", alone("scikit-learn", rows))


def _locating(points: int, apricot: str | None) -> list[Figure]:
    ours, plain = alone("facility_location", points), alone("plain_greedy", points)
    picks = int(KEPT * points)
    what = f"facility location, {points:,} x {DIMENSIONS} to {picks:,}"
    baseline = f"plain numpy, {PLAIN_PICKS} picks times {picks // PLAIN_PICKS}"
    figures = _beside(what, ours, baseline, (plain[0] * picks / PLAIN_PICKS, plain[1]))
    if apricot is not None:
        figures += _beside(what, ours, "apricot-select, lazy", _apricot(apricot, points, picks))
    return figures


APRICOT = """
import json, sys, time
import numpy as np
from apricot import FacilityLocationSelection
points = np.load(sys.argv[1])
started = time.perf_counter()
squares = (points ** 2).sum(axis=1)
distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
similarity = np.exp(-distances / points.shape[1])
FacilityLocationSelection(int(sys.argv[2]), metric="precomputed", optimizer="lazy").fit(similarity)
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "status": open("/proc/self/status").read()}))
"""


def _apricot(python: str, points: int, picks: int) -> Cost:
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, embeddings(points))
        return _said([python, "-c", APRICOT, file.name, str(picks)])


def _selecting(rows: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        stored_rows.store_run(Path(folder), rows)
        return [
            figure
            for title in stored_rows.BY_TITLE
            for figure in _beside(
                f"a tenth of {rows:,} stored rows: {title}",
                alone("select_stored", folder, title),
                "numpy, columns in memory",
                alone("sort_columns", folder, title),
            )
        ]


def _beside(what: str, ours: Cost, baseline: str, theirs: Cost) -> list[Figure]:
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


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure clustering and selection.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=10_400)
    parser.add_argument("--apricot", help="a Python that has apricot-select")
    parser.add_argument("--contestant", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        _run(options.contestant[0], options.contestant[1:])
    else:
        print(table(measure(options.rows, options.points, options.apricot)), flush=True)


if __name__ == "__main__":
    main()
