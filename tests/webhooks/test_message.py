"""What a message says, and that it stays small whatever users write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest

from winnow.webhooks.message import MAX_BYTES, TYPES, fine_tune_message, run_message

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=2)))
RUN: dict[str, Any] = {
    "id": "run_1",
    "name": None,
    "status": "completed",
    "dataset_id": "ds_1",
    "method": "ifd",
    "spec": {"model": "winnow-mini", "max_length": None},
    "revision": "abc",
    "trajectory_id": None,
    "rows": 3,
    "rows_done": 3,
    "rows_scored": 2,
    "rows_rejected": 1,
    "rows_cached": 0,
    "blocks": 1,
    "blocks_done": 1,
    "summary": {"quantiles": {"50": 0.5}},
    "dry_run": False,
    "warnings": [],
    "error": None,
    "created_at": MOMENT,
    "started_at": None,
    "finished_at": MOMENT,
}
JOB: dict[str, Any] = {
    "id": "ftjob-1",
    "status": "failed",
    "spec": {"model": "winnow-mini"},
    "fine_tuned_model": None,
    "training_file": "file-1",
    "validation_file": None,
    "trained_tokens": 0,
    "result_files": [],
    "error": {"code": "out_of_memory", "message": "Lower max_length."},
    "metadata": {},
    "created_at": MOMENT,
    "finished_at": MOMENT,
}


def test_the_time_is_in_utc_and_the_type_says_what_happened() -> None:
    message = orjson.loads(run_message(RUN))
    assert message["type"] == "run.completed"
    assert message["timestamp"] == "2026-01-02T01:04:05Z"
    assert message["data"]["finished_at"] == int(MOMENT.astimezone(UTC).timestamp())
    assert "spec" not in message["data"]
    failed = orjson.loads(fine_tune_message(JOB))
    assert failed["type"] in TYPES
    assert failed["data"]["error"] == JOB["error"] | {"param": None}


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"summary": {"reasons": ["é" * 20_000]}}, {"name", "counts", "error"}),
        ({"name": "é" * 20_000}, {"id", "object", "status", "created_at", "finished_at"}),
        ({"error": {"code": "x", "message": "y" * 30_000}}, {"id", "status"}),
    ],
)
def test_what_is_long_stays_out_of_a_message_that_would_be_too_long(
    changes: dict[str, Any], kept: set[str]
) -> None:
    body = run_message(RUN | changes)
    assert len(body.encode()) <= MAX_BYTES
    data = orjson.loads(body)["data"]
    assert kept <= set(data)
    assert not set(changes) & set(data)


def test_metadata_of_the_greatest_length_fits_or_stays_out() -> None:
    metadata = {"😀" * 63 + str(number % 10): "😀" * 512 for number in range(16)}
    assert len(fine_tune_message(JOB | {"metadata": metadata}).encode()) <= MAX_BYTES
