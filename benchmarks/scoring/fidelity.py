"""How far the scores of a faster way are from the published procedure's, and whether a selection would notice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.mini_figures import Floats, spearman
from benchmarks.scoring.rows import Means

TOP = 0.1
MISLEADING = 1.0
NEAR_SDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Scores beside the published procedure's, on the rows that both score.

    `one_sided` rows are scored by only one of the two. `loss_error` is the largest error of a mean loss in nats.
    `ifd_sd` is the standard deviation of the errors of IFD. `overlap` is the part of the best tenth that both select,
    `overlap_cut` the same after rows of an IFD of 1 and more are dropped. `moved` rows are on another side of 1;
    `moved_far` are those of them that the published procedure puts further from 1 than three standard deviations.
    """

    rows: int
    one_sided: int
    loss_error: float
    ifd_sd: float
    spearman: float
    overlap: float
    overlap_cut: float
    moved: int
    moved_far: int


def fidelity(published: Sequence[Means | None], other: Sequence[Means | None]) -> Fidelity:
    """Compare two ways of scoring the same rows."""
    pairs = list(zip(published, other, strict=True))
    both = np.array([(a, b) for a, b in pairs if a is not None and b is not None])
    (theirs, ours), errors = np.exp(both[:, :, 0] - both[:, :, 1]).T, both[:, 1] - both[:, 0]
    sd = float((ours - theirs).std())
    moved = (theirs < MISLEADING) != (ours < MISLEADING)
    return Fidelity(
        rows=len(both),
        one_sided=sum((a is None) != (b is None) for a, b in pairs),
        loss_error=float(abs(errors).max()),
        ifd_sd=sd,
        spearman=spearman(theirs, ours),
        overlap=_overlap(theirs, ours, below=np.inf),
        overlap_cut=_overlap(theirs, ours, below=MISLEADING),
        moved=int(moved.sum()),
        moved_far=int((abs(theirs - MISLEADING)[moved] > NEAR_SDS * sd).sum()),
    )


def _overlap(theirs: Floats, ours: Floats, *, below: float) -> float:
    a, b = (_top(scores, below) for scores in (theirs, ours))
    return len(np.intersect1d(a, b)) / max(1, len(a), len(b))


def _top(scores: Floats, below: float) -> npt.NDArray[np.int64]:
    """The highest tenth of all, among the scores below a bound; ties by row."""
    candidates = np.flatnonzero(scores < below)
    ranked = candidates[np.argsort(-scores[candidates], kind="stable")]
    return ranked[: max(1, int(len(scores) * TOP))]
