"""What a selection over clusters promises: sizes, balance, representation, determinism, ties."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.selection.clusters import (
    TINY_CLUSTER,
    cluster_balanced,
    cluster_bottom,
    cluster_bottom_published,
    kmeans,
    num_distinct,
)
from winnow.selection.groups import Labels, Positions

label_arrays = st.lists(st.integers(0, 8), max_size=120).map(
    lambda labels: np.array(labels, dtype=np.int32)
)


def balanced(labels: Labels, k: int, *, seed: int = 42) -> Positions:
    return cluster_balanced(np.random.PCG64(seed).random_raw(len(labels)), labels, k)


@given(labels=label_arrays, k=st.integers(0, 150), seed=st.integers(0, 9))
def test_balanced_selects_exactly_k_distinct_rows(labels: Labels, k: int, seed: int) -> None:
    chosen = balanced(labels, k, seed=seed)
    assert len(chosen) == len(set(chosen.tolist())) == min(k, len(labels))
    assert chosen.tolist() == sorted(chosen)
    assert chosen.tolist() == balanced(labels, k, seed=seed).tolist()


@given(labels=label_arrays, k=st.integers(1, 150))
def test_balanced_represents_every_cluster_that_the_budget_allows(labels: Labels, k: int) -> None:
    sizes = Counter(labels.tolist())
    large = {label for label, size in sizes.items() if size > TINY_CLUSTER}
    given_rows = Counter(labels[balanced(labels, k)].tolist())
    if k >= len(large):
        assert large <= set(given_rows)
    for label in large - {max(large, key=lambda one: (given_rows[one], one))} if large else ():
        exhausted = given_rows[label] == sizes[label]
        most = max(given_rows[other] for other in large)
        assert exhausted or most - given_rows[label] <= len(large)


def test_balanced_shares_equally_and_small_clusters_give_all_they_have() -> None:
    labels = np.repeat(np.arange(3, dtype=np.int32), [5, 100, 200])
    given_rows = Counter(labels[balanced(labels, 65)].tolist())
    assert given_rows == {0: 5, 1: 30, 2: 30}


def test_tiny_clusters_only_fill_what_is_left() -> None:
    labels = np.array([0] * 4 + [1] * 2 + [2], dtype=np.int32)
    assert labels[balanced(labels, 4)].tolist() == [0, 0, 0, 0]
    assert Counter(labels[balanced(labels, 6)].tolist())[0] == 4


def test_another_seed_draws_other_rows() -> None:
    labels = np.zeros(1000, dtype=np.int32)
    assert balanced(labels, 50, seed=1).tolist() != balanced(labels, 50, seed=2).tolist()


@given(labels=label_arrays, k=st.integers(0, 150), data=st.data())
def test_bottom_takes_the_lowest_of_every_cluster(
    labels: Labels, k: int, data: st.DataObject
) -> None:
    levels = st.lists(st.integers(0, 5), min_size=len(labels), max_size=len(labels))
    scores = np.array(data.draw(levels), dtype=np.float64)
    chosen = cluster_bottom(scores, labels, k)
    assert len(chosen) == min(k, len(labels))
    for label in set(labels.tolist()):
        members = np.flatnonzero(labels == label)
        taken = [row for row in chosen if labels[row] == label]
        by_score = sorted(members, key=lambda row: (scores[row], row))
        assert taken == sorted(by_score[: len(taken)])
        assert abs(len(taken) - min(k, len(labels)) * len(members) / len(labels)) < 1


def test_the_published_rounding_takes_the_first_chunk_of_each_cluster() -> None:
    labels = np.repeat(np.arange(3, dtype=np.int32), [10, 11, 1])
    scores = np.arange(22, dtype=np.float64)[::-1].copy()
    chosen = cluster_bottom_published(scores, labels, Fraction(1, 10))
    chunks = [
        np.array_split(np.flatnonzero(labels == label)[::-1], 10)[0].tolist() for label in range(3)
    ]
    assert chosen.tolist() == sorted(row for chunk in chunks for row in chunk)


def test_kmeans_finds_what_is_apart_and_repeats_itself() -> None:
    rng = np.random.default_rng(3)
    points = np.concatenate([rng.normal(10 * at, 0.1, size=(40, 4)) for at in range(3)])
    labels = kmeans(points, num_clusters=3)
    assert [len(set(labels[at : at + 40].tolist())) for at in (0, 40, 80)] == [1, 1, 1]
    assert len(set(labels.tolist())) == 3
    assert labels.tolist() == kmeans(points, num_clusters=3).tolist()


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.array([[0.0], [-0.0], [0.0]])])
def test_there_are_never_more_clusters_than_distinct_rows(points: npt.NDArray[np.float64]) -> None:
    assert num_distinct(points, at_most=10) == 1
    assert set(kmeans(points, num_clusters=4).tolist()) == {0}
