"""What a message says: Standard Webhooks' `{"type", "timestamp", "data"}`, with the object as the API shows it, small.

Every field of `data` has the name and the value of `GET /runs/{id}` or `GET /v1/fine_tuning/jobs/{id}`; what is long
or can be asked for stays out. The bytes are made once, when the object ends, and kept: every attempt sends the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import orjson

MessageType = Literal[
    "run.completed",
    "run.failed",
    "run.cancelled",
    "fine_tune.succeeded",
    "fine_tune.failed",
    "fine_tune.cancelled",
]
TYPES: tuple[MessageType, ...] = get_args(MessageType)

MAX_BYTES = 20_000
"""What Standard Webhooks allows a message."""

_COUNTS = (
    "rows",
    "rows_done",
    "rows_scored",
    "rows_rejected",
    "rows_cached",
    "blocks",
    "blocks_done",
)
_KEPT = ("id", "object", "status", "created_at", "finished_at")
_LONG = ("summary", "warnings", "metadata", "result_files")
"""Left out of a message that would be too long with them."""


def run_message(run: Mapping[str, Any]) -> str:
    """The message of a run that is over; `run` has the columns of its table."""
    data = {
        "id": run["id"],
        "object": "run",
        "name": run["name"],
        "status": run["status"],
        "dataset": run["dataset_id"],
        "method": run["method"],
        "model": run["spec"]["model"],
        "revision": run["revision"],
        "trajectory": run["trajectory_id"],
        "counts": {name: run[name] for name in _COUNTS},
        "summary": run["summary"],
        "dry_run": run["dry_run"],
        "warnings": run["warnings"],
        "error": _error(run, "code", "message"),
        "created_at": _unix(run["created_at"]),
        "started_at": _unix(run["started_at"]),
        "finished_at": _unix(run["finished_at"]),
    }
    return _message(f"run.{run['status']}", run["finished_at"], data)


def fine_tune_message(job: Mapping[str, Any]) -> str:
    """The message of a fine-tuning job that is over; `job` has the columns of its table."""
    data = {
        "id": job["id"],
        "object": "fine_tuning.job",
        "status": job["status"],
        "model": job["spec"]["model"],
        "fine_tuned_model": job["fine_tuned_model"],
        "training_file": job["training_file"],
        "validation_file": job["validation_file"],
        "trained_tokens": job["trained_tokens"],
        "result_files": job["result_files"],
        "error": _error(job, "code", "message", "param"),
        "metadata": job["metadata"] or None,
        "created_at": _unix(job["created_at"]),
        "finished_at": _unix(job["finished_at"]),
    }
    return _message(f"fine_tune.{job['status']}", job["finished_at"], data)


def _message(type_: str, moment: datetime, data: Mapping[str, Any]) -> str:
    short = [name for name in data if name not in _LONG]
    for names in (list(data), short, _KEPT):
        told = {name: data[name] for name in names}
        message = {"type": type_, "timestamp": moment.astimezone(UTC), "data": told}
        body = orjson.dumps(message, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS)
        if len(body) <= MAX_BYTES:
            break
    return body.decode()


def _error(row: Mapping[str, Any], *names: str) -> dict[str, Any] | None:
    return row["error"] and {name: row["error"].get(name) for name in names}


def _unix(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
