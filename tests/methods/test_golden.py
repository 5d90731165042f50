"""The published rule on the published perplexities, from losses to the rows that are selected.

The golden selections are the project's; the perplexities are not, so these tests need them beside the project.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from winnow.scores import ScoreTable
from winnow.selection.ratio import Selection, select
from winnow.spec import RunSpec
from winnow.trajectory import LOSS_SCHEMA, TrajectoryLosses, planned, trajectory_scores

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "small2large_ppl_dolly.npz"
GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "learning_percentage.json").read_bytes()
)
STATISTIC = {"LP1": "lp", "LP1_Approx": "approx"}

pytestmark = pytest.mark.skipif(not PUBLISHED.exists(), reason=f"{PUBLISHED} is not there")


def scored(model: str, statistic: str, labels: npt.NDArray[np.int32]) -> ScoreTable:
    """The scores of the first records, each with one token whose loss is the published one."""
    with np.load(PUBLISHED) as published:
        nll = np.log(published[model][:, : len(labels)].astype(np.float64))
    tables = [
        pa.table(
            {
                "row": np.arange(len(labels)), "nll": of_epoch,
                "num_tokens": np.ones(len(labels), np.int32), "flags": np.zeros(len(labels), np.int16),
                "reason": [None] * len(labels), "detail": [None] * len(labels),
            },
            schema=LOSS_SCHEMA,
        )
        for of_epoch in nll
    ]  # fmt: skip
    spec = RunSpec.make(method="learning_percentage", statistic=statistic, compat="small2large")
    losses = TrajectoryLosses.join(planned(3, 3, 3), tables)
    scores = ScoreTable.from_rows(trajectory_scores(losses, spec))
    return scores.with_clusters(labels, np.full_like(labels, -1))


@pytest.mark.parametrize(
    "case", GOLDEN["cases"], ids=lambda case: f"{case['model']}-{case['metric']}-{case['percentage']}"
)  # fmt: skip
def test_scores_and_selection_are_the_published_ones(case: dict[str, Any]) -> None:
    labels = np.array(GOLDEN["clusters"], dtype=np.int32)
    scores = scored(case["model"], STATISTIC[case["metric"]], labels)
    first = case["first_values"]
    assert scores.score[: len(first)] == pytest.approx(first, abs=2e-6)
    selection = Selection.make(
        method="learning_percentage",
        ratio=f"{case['percentage'] / 100}",
        quota="per_cluster",
        include_unlearned=True,
    )
    found = select(scores, selection, sources=lambda: pa.chunked_array([], pa.string()))
    assert set(found.rows.tolist()) == set(case["selected"])
