"""The contestants of the selection benchmark answer the same question."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import selection, stored_rows
from winnow.selection.facility_location import facility_location

ROWS = 4000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of some blocks leaves."""
    folder = tmp_path_factory.mktemp("run")
    stored_rows.store_run(folder, ROWS)
    return folder


def test_the_plain_greedy_algorithm_picks_what_the_lazy_one_picks() -> None:
    points = np.random.default_rng(4).normal(size=(60, 2)).astype(np.float32)
    assert selection.plain_greedy(points, 6) == facility_location(points, 6).tolist()


@pytest.mark.parametrize(
    ("title", "rounded_off"),
    [("top", 0), ("bottom", 0), ("bottom, stratify=source", 2), ("bottom, stratify=length", 9)],
)
def test_numpy_chooses_the_same_rows_but_for_rounding(
    folder: Path, title: str, rounded_off: int
) -> None:
    request = stored_rows.BY_TITLE[title]
    ours = set(stored_rows.select_stored(folder, request)().rows.tolist())
    theirs = set(stored_rows.sort_columns(folder, request)().tolist())
    assert len(ours) == ROWS // 10
    assert theirs <= ours
    assert len(ours - theirs) <= rounded_off


def test_every_strategy_and_every_way_to_share_out_is_measured(folder: Path) -> None:
    assert len(stored_rows.BY_TITLE) == 28
    for request in stored_rows.REQUESTS:
        assert len(stored_rows.select_stored(folder, request)().rows)
        assert len(stored_rows.sort_columns(folder, request)()) or "cluster" in request["strategy"]


def test_a_contestant_tells_its_time_and_its_memory(folder: Path) -> None:
    seconds, mib = selection.alone("select_stored", str(folder), "top, per=source")
    assert 0 < seconds < 60
    assert mib > 50


def test_curves_have_their_points() -> None:
    curves = selection.trajectories(50)
    assert curves.shape == (50, selection.POINTS)
    assert np.isfinite(curves).all()
