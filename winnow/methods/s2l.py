"""S2L: rows whose losses fall alike while a small model is fine-tuned are alike to a large one.

    trajectory of a row   its mean answer losses, unscaled, at T points of the fine-tune   Yang et al. 2024,
                          arXiv 2403.07384, section 4
    score                 the mean of its trajectory, the area under the curve

S2L itself ranks nothing: it clusters the trajectories and takes equal parts of the clusters (`winnow.selection`). The
score is what one number can say of a curve, and other strategies may rank by it: high means learned late, or never.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def area_under_curve(mean_losses: Floats) -> Floats:
    """The mean over the points of `mean_losses`, of shape (points, rows), for each row."""
    return np.asarray(mean_losses.mean(axis=0))
