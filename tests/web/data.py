"""Datasets and runs for the page to show."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np

from tests.web.gateway import Worker
from winnow.proxy.engine import SpanLoss
from winnow.records.example import Flag, RejectionReason
from winnow.scores import RowScore
from winnow.store import work

SOURCES = ("books", "forum", "code")


def record(number: int) -> dict[str, str]:
    return {
        "instruction": f"What is number {number}?",
        "input": "",
        "output": f"Number {number} is {'very ' * (number % 9)}well known; {number * 7919 % 1000} people asked.",
        "source": SOURCES[number % len(SOURCES)],
    }


def lines(records: list[Any]) -> bytes:
    return "".join(json.dumps(each) + "\n" for each in records).encode()


def completed(
    api: httpx.Client, worker: Worker, records: list[Any], **options: Any
) -> dict[str, Any]:
    """A completed run over these records."""
    started = api.post("/score", content=lines(records), params=options).json()
    worker.do_all()
    run: dict[str, Any] = api.get(f"/runs/{started['id']}").json()
    assert run["status"] == "completed", run
    return run


def scored_straight(api: httpx.Client, worker: Worker, num_rows: int) -> dict[str, Any]:
    """A completed run over so many rows, whose scores are written into the store without computing any."""
    started = api.post("/score", content=lines([record(n) for n in range(num_rows)])).json()
    worker.do_one()  # reads the dataset
    with worker.database.transaction() as connection:
        unit = work.claim(
            connection,
            next(iter(worker.queued())),
            worker_id="test",
            lease_s=60,
            queues=worker.queues,
        )
        assert unit is not None
        work.finish_score(connection, unit, drawn_scores(num_rows))
    worker.do_all()
    run: dict[str, Any] = api.get(f"/runs/{started['id']}").json()
    assert run["status"] == "completed", run
    return run


def drawn_scores(num_rows: int) -> list[RowScore]:
    """Scores as IFD spreads them; every thousandth row is rejected."""
    chance = np.random.default_rng(7)
    scores = np.round(np.clip(chance.normal(0.7, 0.16, num_rows), 0.02, 2), 6).tolist()
    tokens = chance.integers(4, 300, num_rows).tolist()
    return [
        RowScore(row=row, reason=RejectionReason.EMPTY_ANSWER, detail=f"line {row + 1}: no answer")
        if row % 1000 == 999
        else RowScore(
            row=row,
            score=score,
            conditioned=SpanLoss(nll=2.0 * count, num_tokens=count),
            direct=SpanLoss(nll=2.5 * count, num_tokens=count),
            flags=(Flag.TRUNCATED,) if row % 500 == 0 else (),
        )
        for row, (score, count) in enumerate(zip(scores, tokens, strict=True))
    ]
