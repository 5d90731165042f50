"""Data for the tests that run whole services."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import cli
from tests.e2e.processes import TINY, running
from winnow.client import Client

NUM_ROWS = 2500
"""Three blocks, so that two workers have something to share."""


def record(number: int) -> dict[str, str]:
    return {
        "instruction": f"Say the number {number}.",
        "input": "" if number % 3 else "Be brief.",
        "output": f"{number} is what {'you and ' * (number % 7)}I say, {number * 7919 % 1000} times.",
    }


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of three blocks, one a line."""
    path = tmp_path_factory.mktemp("data") / "data.jsonl"
    path.write_text("".join(json.dumps(record(number)) + "\n" for number in range(NUM_ROWS)))
    return path


@dataclass(frozen=True)
class Expected:
    """What the command line makes of the dataset."""

    subset: bytes
    scores: bytes


@pytest.fixture(scope="session")
def expected(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """A tenth of the dataset, and the scores of all of it, without a service."""
    folder = tmp_path_factory.mktemp("expected")
    subset, scores = folder / "subset.jsonl", folder / "scores.jsonl"
    options = [
        "--model",
        TINY,
        "--threads",
        "2",
        "--ratio",
        "0.1",
        "-o",
        subset,
        "--scores",
        scores,
    ]
    assert cli.main([str(each) for each in ("score", dataset, *options)]) == 0
    assert len(subset.read_bytes().splitlines()) == NUM_ROWS // 10
    return Expected(subset=subset.read_bytes(), scores=scores.read_bytes())


@pytest.fixture(scope="session")
def shared() -> Iterator[Client]:
    """A client of an embedded service that several tests use and none ends."""
    with tempfile.TemporaryDirectory(prefix="winnow-") as name:
        folder = Path(name)
        with (
            running(
                *("serve", "--port", "0", "--data-dir", folder / "data"),
                env={"WINNOW_MODELS": str(TINY)},
                log=folder / "serve.log",
                cwd=folder,
            ) as service,
            Client(service.url()) as client,
        ):
            yield client
