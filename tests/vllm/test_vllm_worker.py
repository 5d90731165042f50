"""A worker process with vLLM, on a real Redis and Postgres: 500 rows, held against `winnow score` and against torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.faults.installation import ROOT, Installation, wait_for
from winnow.scores import ScoreTable, score_records
from winnow.settings import Settings

NUM_ROWS = 500
SAMPLE = ROOT / "winnow" / "sample" / "sample.jsonl"
TOKEN_BUDGET = 1024
MEAN = {"abs": 2e-5, "rel": 1e-5}
CLOSE = {"loss_conditioned": MEAN, "loss_direct": MEAN, "score": {"abs": 1e-4, "rel": 1e-4}}
"""How far engines may lie apart; a score is an exponential, so where it is in the hundreds, 1e-4 of itself."""

WORKER = ("-m", "cli", "worker", "--queues", "io,score", "--engine", "vllm", "--threads", "1")
"""How an operator starts it."""

LOADS_WITHIN_S = 120.0
SCORES_WITHIN_S = 240.0


@pytest.fixture
def installation(settings: Settings, tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(settings, tmp_path, worker_command=WORKER)
    with installation.running(num_workers=0):
        yield installation


def command_line(source: Path, folder: Path, *, engine: str) -> list[Mapping[str, Any]]:
    """The scores of a file by `winnow score`, with as many threads as the worker has."""
    scores = folder / f"{engine}.jsonl"
    subprocess.run(
        [sys.executable, "-m", "cli", "score", source, "--engine", engine, "--scores", scores],
        env=os.environ
        | {
            "OMP_NUM_THREADS": "1",
            "WINNOW_TOKEN_BUDGET": str(TOKEN_BUDGET),
            "WINNOW_VLLM_BATCHED_TOKENS": str(TOKEN_BUDGET),
        },
        cwd=ROOT,
        check=True,
    )
    return [orjson.loads(line) for line in scores.read_bytes().splitlines()]


@pytest.mark.timeout(600)
def test_500_rows_have_the_scores_of_the_command_line_and_of_torch(
    installation: Installation, tmp_path: Path
) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_bytes(b"".join(SAMPLE.read_bytes().splitlines(keepends=True)[:NUM_ROWS]))
    run_id = installation.start_run(source.read_bytes(), engine="vllm", token_budget=TOKEN_BUDGET)

    worker = installation.start_worker()
    wait_for(lambda: installation.run(run_id).status == "scoring", within_s=LOADS_WITHIN_S)
    wait_for(lambda: not installation.run(run_id).active, within_s=SCORES_WITHIN_S)
    run = installation.run(run_id)
    assert run.status == "completed", (run.error, installation.logs())
    assert run.rows_scored + run.rows_rejected == NUM_ROWS
    worker.terminate()
    assert worker.wait(30) == 0, installation.logs()

    with installation.blobs.open_read(f"runs/{run_id}/scores.parquet") as file:
        by_worker = score_records(ScoreTable.read(file).table)
    assert by_worker == command_line(source, tmp_path, engine="vllm")
    by_torch = command_line(source, tmp_path, engine="torch")
    assert len(by_torch) == NUM_ROWS
    for ours, theirs in zip(by_worker, by_torch, strict=True):
        assert ours.keys() == theirs.keys()
        near = {
            name: pytest.approx(theirs[name], **CLOSE[name]) for name in CLOSE if name in theirs
        }
        assert ours == {**theirs, **near}
