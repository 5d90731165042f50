"""Trajectories: which checkpoints there are, and every row a score or a reason whatever its losses are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import InputError, InvalidOption
from winnow.proxy.engine import SpanLoss
from winnow.records.example import Flag, RejectionReason
from winnow.scores import FLAG_BITS, RowScore
from winnow.spec import RunSpec
from winnow.trajectory import (
    BEFORE_TRAINING,
    LOSS_SCHEMA,
    Checkpoint,
    TrajectoryLosses,
    planned,
    trajectory_scores,
)

TOKENS = 4
LP = RunSpec.make(method="learning_percentage", n_epochs=2)
S2L = RunSpec.make(method="s2l", n_epochs=2)
CHECKPOINTS = [
    BEFORE_TRAINING,
    Checkpoint(position=1, step=5, epoch=None, point=True),
    Checkpoint(position=2, step=10, epoch=1, point=False),
    Checkpoint(position=3, step=20, epoch=2, point=True),
]


@given(epochs=st.integers(1, 6), per_epoch=st.integers(1, 5000), points=st.integers(1, 100))
def test_the_plan_has_every_end_of_an_epoch_and_every_point_once(
    epochs: int, per_epoch: int, points: int
) -> None:
    steps = epochs * per_epoch
    plan = planned(steps, epochs, points)
    assert plan[0] == BEFORE_TRAINING
    assert [one.position for one in plan] == list(range(len(plan)))
    assert [one.step for one in plan] == sorted({one.step for one in plan})
    ends = {one.epoch: one.step for one in plan if one.epoch is not None}
    assert ends == {epoch: per_epoch * epoch for epoch in range(epochs + 1)}
    curve = [one.step for one in plan if one.point]
    assert len(curve) == min(points, steps)
    assert curve[-1] == plan[-1].step == steps
    if points <= steps:
        assert curve == [round(i * steps / points) for i in range(1, points + 1)]


def losses(*rows: list[float | str], flags: int = 0) -> TrajectoryLosses:
    """Mean losses of each row at each checkpoint; a text stands for a rejection there."""
    tables = [
        pa.Table.from_pylist([_line(row, values[at], flags) for row, values in enumerate(rows)], LOSS_SCHEMA)
        for at in range(len(rows[0]))
    ]  # fmt: skip
    return TrajectoryLosses.join(CHECKPOINTS[: len(tables)], tables)


def _line(row: int, value: float | str, flags: int) -> dict[str, Any]:
    if isinstance(value, str):
        return {"row": row, "flags": 0, "reason": value, "detail": "because"}
    return {"row": row, "nll": TOKENS * value, "num_tokens": TOKENS, "flags": flags}


def test_a_score_is_the_share_of_the_drop_that_the_first_epoch_brings() -> None:
    found = trajectory_scores(losses([3.0, 9.0, 2.0, 1.0], flags=FLAG_BITS[Flag.TRUNCATED]), LP)
    drop = (math.exp(3) - math.exp(2)) / (math.exp(3) - math.exp(1))
    loss = SpanLoss(nll=12.0, num_tokens=TOKENS)
    flags = (Flag.TRUNCATED,)
    assert found == [RowScore(row=0, score=round(drop, 6), conditioned=loss, flags=flags)]


def test_another_epoch_and_the_approximation_read_the_same_losses() -> None:
    of_row = losses([3.0, 9.0, 2.0, 1.0])
    second = RunSpec.make(method="learning_percentage", n_epochs=2, epoch=2)
    approx = RunSpec.make(method="learning_percentage", n_epochs=2, statistic="approx")
    first, last = trajectory_scores(of_row, LP)[0].score, trajectory_scores(of_row, second)[0].score
    assert (first or 0) + (last or 0) == pytest.approx(1)
    assert trajectory_scores(of_row, approx)[0].score == round(1 - math.exp(-1), 6)


def test_the_area_under_the_curve_is_over_the_points() -> None:
    found = trajectory_scores(losses([3.0, 2.5, 9.0, 1.5]), S2L)[0]
    assert found.score == 2.0
    assert found.conditioned == SpanLoss(nll=6.0, num_tokens=TOKENS)
    assert losses([3.0, 2.5, 9.0, 1.5]).curves.tolist() == [[2.5, 1.5]]


def test_a_row_without_a_drop_is_rejected_and_one_that_rose_is_flagged() -> None:
    same, rose = trajectory_scores(losses([2.0, 9.0, 1.0, 2.0], [2.0, 9.0, 3.0, 2.5]), LP)
    assert same.reason is RejectionReason.NOT_LEARNED
    assert rose.flags == (Flag.UNLEARNED,)
    assert trajectory_scores(losses([2.0, 9.0, 1.0, 2.0]), S2L)[0].score == 5.5


def test_the_published_rule_scores_a_row_without_a_drop_with_zero() -> None:
    spec = RunSpec.make(method="learning_percentage", n_epochs=2, compat="small2large")
    assert trajectory_scores(losses([2.0, 9.0, 1.0, 2.0]), spec)[0].score == 0.0


@pytest.mark.parametrize("spec", [LP, S2L], ids=["lp", "s2l"])
def test_a_row_without_a_loss_somewhere_is_rejected_with_the_first_reason(spec: RunSpec) -> None:
    at_once, later = trajectory_scores(
        losses(["empty_answer"] * 4, [2.0, "non_finite_loss", 1.0, "non_finite_loss"]),  # type: ignore[list-item]
        spec,
    )
    assert (at_once.reason, at_once.detail) == (RejectionReason.EMPTY_ANSWER, "because")
    assert (later.reason, later.detail) == (RejectionReason.NON_FINITE_LOSS, "At step 5: because")


def test_a_perplexity_beyond_numbers_is_no_score() -> None:
    found = trajectory_scores(losses([900.0, 9.0, 800.0, 1.0], [900.0, 9.0, 900.0, 900.0]), LP)
    assert [row.reason for row in found] == [RejectionReason.NON_FINITE_LOSS] * 2
    assert trajectory_scores(losses([900.0, 9.0, 800.0, 1.0]), S2L)[0].score == 5.0


LOSS = st.one_of(st.floats(0, 800), st.sampled_from([0.0, 1.0, "non_finite_loss"]))


@given(rows=st.lists(st.lists(LOSS, min_size=4, max_size=4), min_size=1, max_size=8))
def test_every_row_leaves_as_a_score_or_a_rejection(rows: list[list[float | str]]) -> None:
    for spec in (LP, S2L):
        for at, found in enumerate(trajectory_scores(losses(*rows), spec)):
            assert found.row == at
            assert (found.score is None) == (found.reason is not None) == bool(found.detail)
            assert found.score is None or math.isfinite(found.score)


def test_epochs_that_are_not_there_are_asked_for() -> None:
    with pytest.raises(InvalidOption, match="end with epoch 1, and statistic=lp needs epoch 2"):
        trajectory_scores(losses([3.0, 2.0, 1.0]), LP)


def test_checkpoints_of_different_tokenizers_do_not_join() -> None:
    first, other = (
        pa.Table.from_pylist([{"row": 0, "nll": 1.0, "num_tokens": n, "flags": 0}], LOSS_SCHEMA)
        for n in (3, 4)
    )
    with pytest.raises(InputError, match="different tokenizers"):
        TrajectoryLosses.join(CHECKPOINTS[:2], [first, other])


def test_a_flag_at_one_checkpoint_is_a_flag_of_the_row() -> None:
    line = {"row": 0, "nll": 1.0, "num_tokens": 3}
    tables = [pa.Table.from_pylist([line | {"flags": flags}], LOSS_SCHEMA) for flags in (0, 16)]
    joined = TrajectoryLosses.join(CHECKPOINTS[:2], tables)
    assert joined.flags.tolist() == [FLAG_BITS[Flag.REPLANNED]]
    assert np.isfinite(joined.mean_losses).all()
