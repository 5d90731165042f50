"""A trajectory: the losses of every row at the checkpoints of one fine-tune, and the scores that are made of them.

    position 0        the proxy before training
    then, by step     the end of each epoch, and T points after steps round(i * steps / T), i = 1..T

Learning percentage reads the ends of epochs, S2L the points; a checkpoint may be both. Evaluating one checkpoint over
a block of rows gives a table of `LOSS_SCHEMA` (`winnow.evaluation`); the tables of a block, one a checkpoint, join to
`TrajectoryLosses`, and `trajectory_scores` is arithmetic over them.

Not covered: training (`winnow.training`) and where losses are kept (`winnow.store`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.errors import InputError, InvalidOption
from winnow.methods.learning_percentage import approximate, learning_percentage, perplexity
from winnow.methods.s2l import area_under_curve
from winnow.proxy.engine import SpanLoss
from winnow.records.example import Flag, RejectionReason
from winnow.scores import SCORE_DECIMALS, RowScore, unpack_flags
from winnow.spec import RunSpec

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The proxy after `step` optimiser steps: the end of `epoch` (0: before training), a point of S2L, or both."""

    position: int
    step: int
    epoch: int | None
    point: bool


BEFORE_TRAINING = Checkpoint(position=0, step=0, epoch=0, point=False)


CHECKPOINT_FILE = "checkpoint.json"
"""Beside the weights of a kept checkpoint: its step, its epoch, and whether it is a point."""


def planned(total_steps: int, n_epochs: int, points: int) -> list[Checkpoint]:
    """The checkpoints of a fine-tune, by step. Where there are fewer steps than points, every step is a point."""
    ends = {total_steps // n_epochs * epoch: epoch for epoch in range(n_epochs + 1)}
    curve = {max(1, round(i * total_steps / points)) for i in range(1, points + 1)}
    return [
        Checkpoint(position=position, step=step, epoch=ends.get(step), point=step in curve)
        for position, step in enumerate(sorted(ends.keys() | curve))
    ]


LOSS_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("nll", pa.float64()),
        pa.field("num_tokens", pa.int32()),
        pa.field("flags", pa.int16(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
"""The loss of each row at one checkpoint: sums in nats over its learned tokens; a row has either a sum or a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryLosses:
    """The losses of consecutive rows at all checkpoints of a trajectory; `nll` has shape (checkpoints, rows).

    `flags` are bits, those of any checkpoint; `reasons` and `details` are None where the row has a loss at every
    checkpoint, and those of the first one that has not otherwise.
    """

    checkpoints: tuple[Checkpoint, ...]
    rows: npt.NDArray[np.int64]
    nll: Floats
    num_tokens: npt.NDArray[np.int32]
    flags: npt.NDArray[np.int16]
    reasons: Sequence[str | None]
    details: Sequence[str | None]

    @classmethod
    def join(
        cls, checkpoints: Sequence[Checkpoint], tables: Sequence[pa.Table | pa.RecordBatch]
    ) -> Self:
        """The losses of one range of rows from its tables of `LOSS_SCHEMA`, one for each checkpoint in their order.

        Raises:
            InputError: the checkpoints read the rows as different tokens, so their losses are of different things.
        """
        reasons: list[str | None] = tables[0].column("reason").to_pylist()
        details: list[str | None] = tables[0].column("detail").to_pylist()
        for checkpoint, table in zip(checkpoints[1:], tables[1:], strict=True):
            for at, reason in enumerate(table.column("reason").to_pylist()):
                if reason is not None and reasons[at] is None:
                    reasons[at] = reason
                    details[at] = f"At step {checkpoint.step}: {table.column('detail')[at].as_py()}"
        num_tokens = np.stack([_filled(table, "num_tokens", np.int32, 0) for table in tables])
        usable = np.array([reason is None for reason in reasons], dtype=np.bool_)
        if (num_tokens != num_tokens[0])[:, usable].any():
            raise InputError(
                "The checkpoints have different tokenizers. Give those of one fine-tune, each with its tokenizer."
            )
        flags = np.stack([_filled(table, "flags", np.int16, 0) for table in tables])
        return cls(
            checkpoints=tuple(checkpoints),
            rows=_filled(tables[0], "row", np.int64, 0),
            nll=np.stack([_filled(table, "nll", np.float64, np.nan) for table in tables]),
            num_tokens=num_tokens[0],
            flags=np.bitwise_or.reduce(flags, axis=0),
            reasons=reasons,
            details=details,
        )

    @property
    def mean_losses(self) -> Floats:
        """Mean losses in nats per token, of shape (checkpoints, rows); NaN in the whole column of a rejected row."""
        rejected = np.array([reason is not None for reason in self.reasons], dtype=np.bool_)
        means = self.nll / np.maximum(self.num_tokens, 1)
        means[:, rejected] = np.nan
        return np.asarray(means)

    @property
    def at_points(self) -> list[int]:
        """Where S2L's points stand among the checkpoints, by step."""
        return [at for at, one in enumerate(self.checkpoints) if one.point]

    @property
    def curves(self) -> Floats:
        """What S2L clusters: the mean losses at its points, of shape (rows, points); NaN where rejected."""
        return self.mean_losses[self.at_points].T


def epoch_ends(checkpoints: Sequence[Checkpoint]) -> list[int]:
    """Where the ends of epochs stand among checkpoints, the one before training first.

    Raises:
        InvalidOption: an end is missing before the last one that is there.
    """
    ends = {one.epoch: at for at, one in enumerate(checkpoints) if one.epoch is not None}
    for epoch in range(max(ends, default=0) + 1):
        if epoch not in ends:
            raise InvalidOption(
                f"There is no checkpoint at the end of epoch {epoch}, which learning percentage needs. Use method=s2l, "
                "or give all ends of epochs.",
                param="checkpoints",
            )
    return [ends[epoch] for epoch in sorted(ends)]


def trajectory_scores(losses: TrajectoryLosses, spec: RunSpec) -> list[RowScore]:
    """A score or a rejection for each row; `spec.method` is one that has a trajectory.

    Raises:
        InvalidOption: the trajectory lacks the ends of epochs that the run asks for.
    """
    if spec.method == "s2l":
        at = losses.at_points
        scored = _Scored(area_under_curve(losses.mean_losses[at]), conditioned=at[-1])
    else:
        scored = _learning_percentage(losses, spec)
    return [_row_score(losses, scored, at) for at in range(len(losses.rows))]


@dataclass(frozen=True, slots=True)
class _Scored:
    """Scores of rows before rejections; `conditioned` says at which checkpoint the stored loss is."""

    score: Floats
    conditioned: int
    not_learned: Mask | None = None
    unlearned: Mask | None = None


def _learning_percentage(losses: TrajectoryLosses, spec: RunSpec) -> _Scored:
    check_epochs(losses.checkpoints, spec)
    ends = epoch_ends(losses.checkpoints)
    perplexities = perplexity(losses.mean_losses[ends])
    # A perplexity that a float cannot hold is no number to compare with another.
    perplexities[:, ~np.isfinite(perplexities).all(axis=0)] = np.nan
    if spec.statistic == "approx":
        return _Scored(
            approximate(perplexities),
            conditioned=ends[0],
            not_learned=(perplexities[-1] == perplexities[0]) & (spec.compat is None),
            unlearned=perplexities[-1] > perplexities[0],
        )
    found = learning_percentage(perplexities, epoch=spec.epoch, compat=spec.compat)
    return _Scored(
        found.score,
        conditioned=ends[0],
        not_learned=found.not_learned & np.isnan(found.score),
        unlearned=found.unlearned,
    )


def check_epochs(checkpoints: Sequence[Checkpoint], spec: RunSpec) -> None:
    """Whether checkpoints have the ends of epochs that a run reads.

    Raises:
        InvalidOption: one is missing; the message says which.
    """
    if spec.method != "learning_percentage":
        return
    last = len(epoch_ends(checkpoints)) - 1
    needed = max(spec.epoch, 2 if spec.statistic == "lp" else 1)
    if last < needed:
        raise InvalidOption(
            f"The checkpoints end with epoch {last}, and statistic={spec.statistic} needs epoch {needed}. "
            "Give more of them, or use method=s2l.",
            param="checkpoints",
        )


def _row_score(losses: TrajectoryLosses, scored: _Scored, at: int) -> RowScore:
    row = int(losses.rows[at])
    reason = losses.reasons[at]
    if reason is not None:
        return RowScore(row=row, reason=RejectionReason(reason), detail=losses.details[at])
    if scored.not_learned is not None and scored.not_learned[at]:
        return RowScore(
            row=row,
            reason=RejectionReason.NOT_LEARNED,
            detail="The proxy's perplexity is the same before and after training, so no share of its drop can be "
            "told. Train longer or with a higher learning_rate, or leave the row out.",
        )
    score = float(scored.score[at])
    if not np.isfinite(score):
        return RowScore(
            row=row,
            reason=RejectionReason.NON_FINITE_LOSS,
            detail="The proxy's perplexity of the answer is beyond what a number can hold. Leave the row out.",
        )
    unlearned = scored.unlearned is not None and bool(scored.unlearned[at])
    return RowScore(
        row=row,
        score=round(score, SCORE_DECIMALS),
        conditioned=SpanLoss(
            nll=float(losses.nll[scored.conditioned, at]), num_tokens=int(losses.num_tokens[at])
        ),
        flags=(*unpack_flags(int(losses.flags[at])), *((Flag.UNLEARNED,) if unlearned else ())),
    )


def _filled(
    table: pa.Table | pa.RecordBatch, name: str, dtype: npt.DTypeLike, missing: float
) -> npt.NDArray[Any]:
    column = table.column(name).fill_null(missing)
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=dtype)
