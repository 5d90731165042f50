"""The published perplexities as Winnow's own trajectories, and what both rules make of them.

    published rule   LP(1) = (P0 - P1) / (P0 - P3), and 0 where P0 = P3; every row has a score
    Winnow's         no score where no token of the answer was scored (P = 1 throughout: the prompt filled the window)
                     or P0 = P3; rows whose perplexity rose are left out of the lowest

Perplexities of Mekala et al. 2024 (arXiv 2402.10430), before training and after each of three epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.stats import spearmanr

from benchmarks.reproduce.ranking import Floats, Transfer, transfer
from winnow.methods.learning_percentage import learning_percentage, perplexity
from winnow.records.example import RejectionReason
from winnow.scores import ScoreTable
from winnow.selection.ratio import Selection, select
from winnow.spec import RunSpec
from winnow.trajectory import Checkpoint, TrajectoryLosses, trajectory_scores

Rows = npt.NDArray[np.int64]
Statistic = Literal["lp", "approx"]

LOWEST = "0.1"
"""The ratio of rows that are called the hardest."""


def read_published(
    file: Path, wanted: int | None = None, *, every_row: bool = False
) -> dict[str, TrajectoryLosses]:
    """The trajectory of each model over the first rows; perplexities are losses of one token.

    `every_row`: also those of which no token was scored have a loss, as in the published rule.
    """
    columns = np.load(file)
    return {
        name: _trajectory(columns[name][:, :wanted].astype(np.float64), every_row)
        for name in columns
    }


def _trajectory(perplexities: Floats, every_row: bool) -> TrajectoryLosses:
    num_rows = perplexities.shape[1]
    unscored = (perplexities == 1).all(axis=0) & (not every_row)
    reasons = [RejectionReason.PROMPT_FILLS_WINDOW.value if none else None for none in unscored]
    return TrajectoryLosses(
        checkpoints=epochs_only(len(perplexities)),
        rows=np.arange(num_rows),
        nll=np.log(perplexities),
        num_tokens=np.ones(num_rows, dtype=np.int32),
        flags=np.zeros(num_rows, dtype=np.int16),
        reasons=reasons,
        details=reasons,
    )


def epochs_only(count: int) -> tuple[Checkpoint, ...]:
    """Checkpoints of which nothing is known but that they are the ends of epochs, from before training on."""
    return tuple(
        Checkpoint(position=epoch, step=epoch, epoch=epoch, point=False) for epoch in range(count)
    )


def published_lp(losses: TrajectoryLosses) -> Floats:
    """LP(1) of every row by the published rule."""
    return learning_percentage(perplexity(losses.nll), compat="small2large").score


def first_perplexity(losses: TrajectoryLosses) -> Floats:
    """P0 of each row, NaN where it has no loss."""
    return perplexity(losses.mean_losses[0])


def scores(losses: TrajectoryLosses, statistic: Statistic = "lp") -> ScoreTable:
    """What Winnow scores, and rejects."""
    spec = RunSpec.make(method="learning_percentage", statistic=statistic, embeddings=False)
    return ScoreTable.from_rows(trajectory_scores(losses, spec))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A number for each row, NaN where it has none, and the tenth of rows that are called the hardest."""

    values: Floats
    lowest: Rows

    @classmethod
    def of_scores(cls, table: ScoreTable) -> Ranking:
        """What Winnow would select of a run."""
        selection = Selection.make(method="learning_percentage", strategy="bottom", ratio=LOWEST)
        return cls(values=table.score, lowest=select(table, selection, sources=no_sources).rows)

    @classmethod
    def of_values(cls, values: Floats) -> Ranking:
        """The lowest of all rows; ties by row, NaN last."""
        k = int(float(LOWEST) * len(values))
        return cls(values=values, lowest=np.argsort(values, kind="stable")[:k])

    def overlap(self, other: Ranking) -> float:
        """The share of the hardest tenth that two rankings have in common."""
        shared = set(self.lowest.tolist()) & set(other.lowest.tolist())
        return len(shared) / max(len(self.lowest), len(other.lowest))

    def spearman(self, other: Ranking) -> float:
        """The correlation of ranks over the rows that both have a number for."""
        both = np.isfinite(self.values) & np.isfinite(other.values)
        return float(spearmanr(self.values[both], other.values[both]).statistic)

    def transfer(self, other: Ranking, tokens: Floats) -> Transfer:
        """How far this ranking holds for the other, over the rows that both have a number for."""
        both = np.isfinite(self.values) & np.isfinite(other.values)
        return transfer(self.values[both], other.values[both], tokens[both])


def no_sources() -> pa.ChunkedArray:
    """Stands for the sources of rows in selections that are not by source."""
    raise AssertionError("no selection here is by source")
