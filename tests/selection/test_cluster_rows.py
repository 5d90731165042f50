"""The clusters of a run: a label for every usable row, by the rule of its method, and per source by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from winnow.selection.cluster_rows import cluster_columns
from winnow.spec import RunSpec

RNG = np.random.default_rng(2)


def features(num_rows: int, *, unusable: int = 0) -> npt.NDArray[np.float32]:
    found = RNG.normal(size=(num_rows, 4)).astype(np.float32)
    found[:unusable] = np.nan
    return found


def spec(method: str = "s2l", **options: Any) -> RunSpec:
    return RunSpec.make(method=method, **options)


@pytest.mark.parametrize(
    ("made", "num_rows", "num_clusters"),
    [
        (spec(), 400, 100),
        (spec(), 30, 30),
        (spec(num_clusters=7), 400, 7),
        (spec("learning_percentage"), 400, 8),
        (spec("learning_percentage"), 30, 1),
        (spec("ifd", embeddings=True), 400, 8),
    ],
)
def test_the_number_of_clusters_is_the_rule_of_the_method(
    made: RunSpec, num_rows: int, num_clusters: int
) -> None:
    cluster, in_source = cluster_columns(features(num_rows), made, None)
    assert set(cluster.tolist()) == set(range(num_clusters))
    assert set(in_source.tolist()) == {-1}


def test_rows_without_features_have_no_cluster() -> None:
    cluster, _ = cluster_columns(features(60, unusable=10), spec(num_clusters=3), None)
    assert set(cluster[:10].tolist()) == {-1}
    assert set(cluster[10:].tolist()) == {0, 1, 2}


def test_a_label_within_sources_belongs_to_one_source() -> None:
    names = ["web", "books", None]
    sources = pa.chunked_array([[names[row % 3] for row in range(90)]], pa.string())
    _, labels = cluster_columns(features(90, unusable=9), spec(num_clusters=4), sources)
    of_source = [set(labels[at::3].tolist()) - {-1} for at in range(3)]
    assert [len(one) for one in of_source] == [4, 4, 4]
    assert set().union(*of_source) == set(range(12))


def test_rows_of_one_source_are_clustered_once() -> None:
    sources = pa.chunked_array([["web"] * 50], pa.string())
    _, labels = cluster_columns(features(50), spec(num_clusters=4), sources)
    assert set(labels.tolist()) == {-1}


def test_the_seed_of_the_run_decides() -> None:
    points = features(300)
    first, again = (cluster_columns(points, spec(num_clusters=9), None)[0] for _ in range(2))
    assert first.tolist() == again.tolist()
    assert (
        first.tolist()
        != cluster_columns(points, spec(num_clusters=9, seed=2**40), None)[0].tolist()
    )


def test_the_direction_of_an_embedding_counts_and_not_its_length() -> None:
    points = features(100)
    made = spec("ifd", embeddings="sentence-transformers:m", num_clusters=5)
    longer = points * RNG.uniform(1, 9, size=(100, 1)).astype(np.float32)
    assert (
        cluster_columns(points, made, None)[0].tolist()
        == cluster_columns(longer, made, None)[0].tolist()
    )


def test_a_run_without_a_usable_row_has_no_clusters() -> None:
    cluster, in_source = cluster_columns(features(4, unusable=4), spec(), None)
    assert set(cluster.tolist()) == set(in_source.tolist()) == {-1}
