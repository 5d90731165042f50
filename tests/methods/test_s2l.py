"""The one number that stands for a curve of losses."""

from __future__ import annotations

import numpy as np

from winnow.methods.s2l import area_under_curve


def test_what_is_learned_late_has_the_larger_area() -> None:
    early, late = [3.0, 1.0, 1.0, 1.0], [3.0, 3.0, 3.0, 1.0]
    assert area_under_curve(np.array([early, late]).T).tolist() == [1.5, 2.5]
