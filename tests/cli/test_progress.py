"""Rates and times are those of the rows, and in words for people."""

from __future__ import annotations

from typing import get_args

import pytest

from cli import options
from cli.progress import Pace, duration, row_progress
from winnow.records.formats import FORMAT_NAMES
from winnow.selection.ratio import Order, Strategy


def test_the_time_before_the_first_rows_does_not_slow_the_rate() -> None:
    clock = iter([100.0, 160.0, 170.0, 180.0])
    pace = Pace(now=lambda: next(clock))
    assert pace.words(0, 1000) == ""
    assert pace.words(100, 1000) == ""
    assert pace.words(300, 1000) == "20 rows/s, 35.0 s left"
    assert pace.words(1000, 1000) == "45 rows/s"


def test_durations_are_for_people() -> None:
    assert [duration(seconds) for seconds in (7.25, 125, 4800)] == [
        "7.2 s",
        "2 min 05 s",
        "1 h 20 min",
    ]


def test_away_from_a_terminal_quick_work_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    with row_progress("scoring") as advance:
        advance(1, 2)
        advance(2, 2)
    assert capfd.readouterr() == ("", "")


def test_options_offer_what_the_library_knows() -> None:
    """They are written twice, because the library's module takes long to import."""
    assert get_args(options.StrategyName) == get_args(Strategy)
    assert get_args(options.OrderName) == get_args(Order)
    assert set(get_args(options.FormatName)) == set(FORMAT_NAMES)
