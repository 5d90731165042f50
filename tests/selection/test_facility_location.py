"""Lazy greedy against the plain greedy algorithm, which looks at every row in every step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from winnow.selection import facility_location as module
from winnow.selection.facility_location import GAIN_DECIMALS, facility_location

Points = npt.NDArray[np.float64]


def _plain_greedy(points: Points, k: int) -> list[int]:
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    similarity = np.exp(-distances / points.shape[1])
    covered = np.zeros(len(points))
    chosen: list[int] = []
    for _ in range(min(k, len(points))):
        gains = np.maximum(similarity - covered, 0).sum(axis=1).round(GAIN_DECIMALS)
        gains[chosen] = -1
        chosen.append(int(np.argmax(gains)))
        covered = np.maximum(covered, similarity[chosen[-1]])
    return chosen


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("in_memory", [True, False])
def test_it_selects_what_plain_greedy_selects(
    seed: int, in_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:
        monkeypatch.setattr(module, "MATRIX_BYTES", 0)
        monkeypatch.setattr(module, "BLOCK_BYTES", 4 * 150 * 7)
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, 3))
    points = centres[rng.integers(0, 12, 150)] + 0.2 * rng.normal(size=(150, 3))
    assert facility_location(points, 40).tolist() == _plain_greedy(points, 40)


@pytest.mark.parametrize("seed", range(3))
def test_unit_vectors_of_many_dimensions_are_told_apart(seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(60, 384))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert facility_location(points, 30).tolist() == _plain_greedy(points, 30)


def test_equal_rows_are_taken_in_order() -> None:
    assert facility_location(np.zeros((4, 2)), 4).tolist() == [0, 1, 2, 3]


def test_a_smaller_selection_is_the_beginning_of_a_larger_one() -> None:
    points = np.random.default_rng(1).normal(size=(80, 5))
    assert facility_location(points, 10).tolist() == facility_location(points, 60).tolist()[:10]


def test_it_never_selects_more_rows_than_there_are() -> None:
    assert sorted(facility_location(np.eye(3), 10).tolist()) == [0, 1, 2]
    assert facility_location(np.empty((0, 4)), 3).tolist() == []
