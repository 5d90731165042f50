"""The contestants of the selection benchmark answer the same question."""

from __future__ import annotations

import numpy as np

from benchmarks import selection
from winnow.selection.facility_location import facility_location


def test_the_plain_greedy_algorithm_picks_what_the_lazy_one_picks() -> None:
    points = np.random.default_rng(4).normal(size=(60, 2)).astype(np.float32)
    assert selection.plain_greedy(points, 6) == facility_location(points, 6).tolist()


def test_every_strategy_is_measured_on_stored_scores() -> None:
    figures = selection._selecting(3000)
    assert len(figures) == 8
    assert all(figure.value > 0 and figure.baseline_value for figure in figures)


def test_curves_have_their_points() -> None:
    curves = selection.trajectories(50)
    assert curves.shape == (50, selection.POINTS)
    assert np.isfinite(curves).all()
