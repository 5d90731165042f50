"""The losses of a completed trajectory as a file: a line for every row, a column for every checkpoint.

    row, num_tokens, loss_0, loss_12, ... (nats per token after so many steps), flags, reason, detail

A row without a loss at every checkpoint has none, and the reason instead.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from service.runs.results import CHUNK_BYTES
from winnow.errors import RunNotUsable, TrajectoryNotReady
from winnow.scores import CSV_FLAG_SEPARATOR, SCORE_DECIMALS, ScoreFormat, unpack_flags
from winnow.store.blobs import Blobs
from winnow.store.losses import LossFiles
from winnow.store.trajectories import KeptCheckpoint, Trajectory
from winnow.trajectory import TrajectoryLosses


def require_losses(trajectory: Trajectory) -> None:
    """Refuse a trajectory whose losses are not all there.

    Raises:
        TrajectoryNotReady: it still works.
        RunNotUsable: it failed or was cancelled.
    """
    if trajectory.status in {"failed", "cancelled"}:
        reason = f" ({trajectory.error.message})" if trajectory.error else ""
        raise RunNotUsable(
            f"The trajectory {trajectory.id} has {trajectory.status.replace('cancelled', 'been cancelled')}{reason}. "
            "Start another with POST /score."
        )
    if trajectory.status != "completed":
        num = trajectory.num_checkpoints or "its"
        raise TrajectoryNotReady(
            f"The trajectory {trajectory.id} is {trajectory.status}: {trajectory.checkpoints_done} of {num} "
            "checkpoints are evaluated. Ask again after Retry-After seconds."
        )


def stream_losses(
    blobs: Blobs,
    trajectory: Trajectory,
    checkpoints: Sequence[KeptCheckpoint],
    *,
    format: ScoreFormat,  # noqa: A002
) -> Iterator[bytes]:
    """Every row of a completed trajectory, in the memory of one block."""
    schema = loss_schema(checkpoints)
    parts = _parts(blobs, trajectory, checkpoints)
    if format == "jsonl":
        for part in parts:
            yield b"".join(map(_line, part))
    elif format == "csv":
        yield from _csv(parts, schema.names)
    else:
        yield from _parquet(parts, schema)


def loss_schema(checkpoints: Sequence[KeptCheckpoint]) -> pa.Schema:
    """The columns of the file."""
    losses = [(_column(checkpoint.step), pa.float64()) for checkpoint in checkpoints]
    ends = [("flags", pa.list_(pa.string())), ("reason", pa.string()), ("detail", pa.string())]
    return pa.schema([("row", pa.int64()), ("num_tokens", pa.int32()), *losses, *ends])


def _parts(
    blobs: Blobs, trajectory: Trajectory, checkpoints: Sequence[KeptCheckpoint]
) -> Iterator[list[dict[str, Any]]]:
    """The rows of one block after the other."""
    files = LossFiles(blobs=blobs, trajectory_id=trajectory.id)
    for block in range(trajectory.blocks):
        yield _records(files.read(checkpoints, block))


def _records(losses: TrajectoryLosses) -> list[dict[str, Any]]:
    columns = [_column(checkpoint.step) for checkpoint in losses.checkpoints]
    means = np.round(losses.mean_losses.T, SCORE_DECIMALS).tolist()
    return [
        {
            "row": int(row),
            "num_tokens": int(losses.num_tokens[at]),
            **dict(zip(columns, means[at], strict=True)),
            "flags": [flag.value for flag in unpack_flags(int(losses.flags[at]))],
        }
        if losses.reasons[at] is None
        else {"row": int(row), "reason": losses.reasons[at], "detail": losses.details[at]}
        for at, row in enumerate(losses.rows)
    ]


def _column(step: int) -> str:
    return f"loss_{step}"


def _line(record: dict[str, Any]) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _csv(parts: Iterator[list[dict[str, Any]]], names: Sequence[str]) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for part in parts:
        for record in part:
            flags = CSV_FLAG_SEPARATOR.join(record.get("flags", ()))
            writer.writerow(record | {"flags": flags})
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _parquet(parts: Iterator[list[dict[str, Any]]], schema: pa.Schema) -> Iterator[bytes]:
    # A Parquet writer pushes into a file, so the answer is written down before it is sent.
    with TemporaryFile() as spool:
        with pq.ParquetWriter(spool, schema, compression="zstd") as writer:
            for part in parts:
                writer.write_table(pa.Table.from_pylist(part, schema=schema))
        spool.seek(0)
        while chunk := spool.read(CHUNK_BYTES):
            yield chunk
