"""What counts as faithful: errors, ranks, the best tenth, and the cut at 1."""

from __future__ import annotations

import math

import pytest

from benchmarks.scoring.fidelity import fidelity
from benchmarks.scoring.rows import Means


def means(*scores: float) -> list[Means | None]:
    """Losses of rows with these IFDs."""
    return [(2.0 + math.log(score), 2.0) for score in scores]


SCORES = [0.50 + 0.02 * row for row in range(20)]


def test_equal_scores_are_faithful() -> None:
    found = fidelity(means(*SCORES), means(*SCORES))
    assert (found.rows, found.one_sided, found.loss_error, found.ifd_sd) == (20, 0, 0.0, 0.0)
    assert found.spearman == pytest.approx(1)
    assert (found.overlap, found.overlap_cut) == (1.0, 1.0)
    assert (found.moved, found.moved_far) == (0, 0)


def test_a_row_that_only_one_scores_is_counted_and_not_compared() -> None:
    found = fidelity([*means(*SCORES), None, (1.0, 1.0)], [*means(*SCORES), (9.0, 1.0), None])
    assert (found.rows, found.one_sided) == (20, 2)
    assert found.loss_error == 0


def test_the_largest_error_may_be_in_either_pass() -> None:
    ours = means(*SCORES)
    ours[3] = (ours[3][0], ours[3][1] - 0.25) if ours[3] else None
    assert fidelity(means(*SCORES), ours).loss_error == pytest.approx(0.25)


def test_the_cut_changes_which_tenth_is_best() -> None:
    theirs = [*SCORES[:18], 1.2, 1.3]
    ours = [*SCORES[:18], 1.2, 0.3]  # the best of all rows falls to the bottom
    found = fidelity(means(*theirs), means(*ours))
    assert found.overlap == 0.5
    assert found.overlap_cut == 1.0


def test_a_row_moved_over_the_cut_is_far_where_the_errors_are_smaller() -> None:
    theirs = [0.5] * 50 + [0.9999, 1.2]
    near = [score + 0.001 * (-1) ** row for row, score in enumerate(theirs)]
    found = fidelity(means(*theirs), means(*near))
    assert (found.moved, found.moved_far) == (1, 0)
    jump = fidelity(means(*theirs), means(*theirs[:-1], 0.9))
    assert (jump.moved, jump.moved_far) == (1, 1)
