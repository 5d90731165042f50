"""The published IFD, case by case: what the Superfiltering reference gives for 48 records on a tiny model.

Every engine is held against them, by tests/proxy/engine_suite.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from winnow.proxy.engine import Engine
from winnow.records.example import Example, RejectionReason, Turn
from winnow.scores import RowScore
from winnow.scoring import score_block
from winnow.spec import RunSpec

HERE = Path(__file__).parent
CASES = {
    "tiny-gpt2": HERE / "superfiltering.jsonl",
    "tiny-gpt2-bos": HERE / "superfiltering_bos.jsonl",
}
# Why a row cannot be scored, by the name of its case.
REASONS = {
    "empty answer": RejectionReason.EMPTY_ANSWER,
    "answer occurs twice in prompt": RejectionReason.ANSWER_TOO_SHORT,
    "single character": RejectionReason.ANSWER_TOO_SHORT,
    "newline only": RejectionReason.ANSWER_TOO_SHORT,
}

Scored = list[tuple[dict[str, Any], RowScore]]
"""Each case and what became of it."""


def score_cases(engine: Engine, model: str) -> Scored:
    """Every case of a golden model, scored as one block."""
    records = [json.loads(line) for line in CASES[model].read_bytes().splitlines()]
    rows = [_example(row, record) for row, record in enumerate(records)]
    outcomes = score_block(rows, engine=engine, spec=RunSpec(), on_rows=lambda _: None)
    return list(zip(records, outcomes, strict=True))


def check_scores(scored: Scored) -> None:
    """Every case with a number has it, to the tolerance across engines."""
    expected = [(case["expected"], row) for case, row in scored]
    agreeing = [(case, row) for case, row in expected if case["status"] == "scored"]
    assert len(agreeing) >= 39
    for case, row in agreeing:
        assert row.score is not None, row
        assert row.conditioned is not None
        assert row.direct is not None
        for mean, key in (
            (row.conditioned.mean, "loss_conditioned"),
            (row.direct.mean, "loss_direct"),
        ):
            assert mean == pytest.approx(case[key], abs=2e-5, rel=1e-5)
        assert row.score == pytest.approx(case["ifd"], abs=1e-4)


def check_rejections(scored: Scored) -> None:
    """Every case without a number has its reason."""
    rejected = [(case, row) for case, row in scored if case["expected"]["status"] == "rejected"]
    assert len(rejected) >= 7
    for case, row in rejected:
        assert row.score is None
        assert row.reason is REASONS.get(case["name"], RejectionReason.PROMPT_FILLS_WINDOW), case
        assert row.detail


def _example(row: int, record: dict[str, Any]) -> Example:
    prompt = [record["instruction"]] + ([record["input"]] if record["input"] else [])
    turns = [Turn(role="user", content=content) for content in prompt]
    return Example(row=row, turns=(*turns, Turn(role="assistant", content=record["output"])))
