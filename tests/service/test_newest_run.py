"""Which run `GET /subsets` means that names none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from winnow.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An installation with a small and a large model."""
    return settings.model_copy(update={"models": ("winnow-mini", "winnow-large")})


def test_a_check_of_trust_does_not_take_the_place_of_a_run(
    client: TestClient,
    finished_run: dict[str, Any],
    work: Callable[[], None],
) -> None:
    asked = {"dataset": finished_run["dataset"], "target": "winnow-large"}
    pair = client.post("/trust", json=asked)
    assert pair.status_code == 202, pair.text
    for _ in range(2):  # while the pair works, and when it is completed
        newest = client.get("/subsets", params={"ratio": 0.5})
        assert newest.headers["Winnow-Run"] == finished_run["id"]
        work()
    listed = [run["id"] for run in client.get("/runs").json()["data"]]
    assert len(listed) == 3
    named = client.get("/subsets", params={"run": listed[0], "ratio": 0.5})
    assert named.status_code == 200
