"""`winnow agree` on two scores files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cli
from winnow.proxy.engine import SpanLoss
from winnow.scores import RowScore, ScoreTable, write_scores


def _write(path: Path, scores: list[float]) -> Path:
    rows = [
        RowScore(
            row=row,
            score=score,
            conditioned=SpanLoss(nll=3.0, num_tokens=1 + row % 7),
            direct=SpanLoss(nll=3.0, num_tokens=3),
        )
        for row, score in enumerate(scores)
    ]
    with path.open("wb") as file:
        write_scores(ScoreTable.from_rows(rows).batches(), file, format="jsonl")
    return path


def test_it_prints_correlations_and_overlaps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = np.random.default_rng(5).normal(size=100).round(6)
    first = _write(tmp_path / "a.jsonl", scores.tolist())
    second = _write(tmp_path / "b.jsonl", (-scores).tolist())
    assert cli.main(["agree", str(first), str(second)]) == 0
    printed = capsys.readouterr().out
    assert "rows that both scored    100" in printed
    assert "Spearman                 -1.000" in printed


def test_files_of_different_datasets_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _write(tmp_path / "a.jsonl", [0.5] * 20)
    second = _write(tmp_path / "b.jsonl", [0.5] * 21)
    assert cli.main(["agree", str(first), str(second)]) == 2
    assert "different datasets" in capsys.readouterr().err
