"""`winnow serve` without settings: a proxy is trained and evaluated on a dataset, and two methods score with it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.e2e.conftest import record
from tests.e2e.processes import until
from winnow.client import Client
from winnow.errors import SelectionNotReady

NUM_ROWS = 60
RECORDS: list[dict[str, Any]] = [record(number) for number in range(NUM_ROWS - 1)]
RECORDS.append({"instruction": "Say nothing.", "output": ""})
OPTIONS: dict[str, Any] = {"n_epochs": 2, "points": 3, "batch_size": 8, "learning_rate": 1e-3}

pytestmark = pytest.mark.timeout(300)


def check_scores(client: Client, run_id: str) -> None:
    """A score or a reason for each row, and nothing that is no number."""
    lines = list(client.scores(run_id))
    assert [line["row"] for line in lines] == list(range(NUM_ROWS))
    assert [line["status"] for line in lines] == ["scored"] * (NUM_ROWS - 1) + ["rejected"]
    assert lines[-1]["reason"] == "empty_answer"
    assert all(math.isfinite(line["score"]) for line in lines[:-1])
    assert all(isinstance(line["cluster"], int) for line in lines[:-1])


def test_learning_percentage_then_s2l_without_training_again(shared: Client) -> None:
    run = shared.wait(shared.score(RECORDS, method="learning_percentage", **OPTIONS), timeout_s=200)
    check_scores(shared, run.id)
    assert run.trajectory is not None
    found = shared.trajectory(run.trajectory)
    assert found.status == "completed"
    types = [event["type"] for event in shared.trajectory_events(found.id)]
    # Before training, the ends of two epochs and three points, of which the last is such an end.
    assert (types.count("trajectory.kept"), types.count("trajectory.evaluated")) == (4, 5)
    assert types.index("trajectory.evaluated") < types.index("trajectory.evaluating"), (
        "evaluation goes on while training does"
    )
    losses = list(shared.losses(found.id))
    assert len(losses) == NUM_ROWS
    assert sum(name.startswith("loss_") for name in losses[0]) == 5

    second = shared.wait(shared.score(dataset=run.dataset, method="s2l", **OPTIONS), timeout_s=60)
    assert second.trajectory == run.trajectory
    assert len(list(shared.trajectories(dataset=run.dataset))) == 1
    check_scores(shared, second.id)

    for run_id in (run.id, second.id):
        subset = b"".join(shared.subset(run=run_id, ratio=0.1)).splitlines()
        assert len(subset) == NUM_ROWS // 10
        assert all(json.loads(line) in RECORDS for line in subset)
    # Learning percentage has embeddings, so its rows can be compared with each other too.
    wanted: dict[str, Any] = {"run": run.id, "ratio": 0.1, "strategy": "facility_location"}

    def compared() -> bytes | None:
        try:
            return b"".join(shared.subset(**wanted))
        except SelectionNotReady:
            return None

    assert len(until(compared).splitlines()) == NUM_ROWS // 10
