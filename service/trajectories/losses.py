"""The losses of a completed trajectory as a file: a line for every row, a column for every checkpoint.

    row, num_tokens, loss_0, loss_12, ... (nats per token after so many steps), flags, reason, detail

A row without a loss at every checkpoint has none, and the reason instead.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.ahead import map_ahead
from winnow.errors import RunNotUsable, TrajectoryNotReady
from winnow.scores import CSV_FLAG_SEPARATOR, SCORE_DECIMALS, ScoreFormat, unpack_flags
from winnow.store.blobs import Blobs
from winnow.store.losses import LossFiles
from winnow.store.trajectories import KeptCheckpoint, Trajectory
from winnow.trajectory import TrajectoryLosses

BLOCKS_AHEAD = 8
"""Blocks read at a time: each is a small file for every checkpoint, so a bucket answers as fast as it is asked."""
GROUP_BLOCKS = 16
"""Blocks in a row group of Parquet: enough that readers are fast, few enough that the first bytes come soon."""


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
    """Every row of a completed trajectory, in the memory of a row group; the first bytes come with the first one."""
    schema = loss_schema(checkpoints)
    files = LossFiles(blobs=blobs, trajectory_id=trajectory.id)
    blocks = map_ahead(
        lambda block: _batch(files.read(checkpoints, block), schema),
        range(trajectory.blocks),
        num_ahead=BLOCKS_AHEAD,
    )
    with closing(blocks):
        if format == "jsonl":
            for block in blocks:
                yield b"".join(map(_line, block.to_pylist()))
        elif format == "csv":
            yield from _csv(blocks, schema.names)
        else:
            yield from _parquet(blocks, schema)


def loss_schema(checkpoints: Sequence[KeptCheckpoint]) -> pa.Schema:
    """The columns of the file."""
    losses = [(f"loss_{checkpoint.step}", pa.float64()) for checkpoint in checkpoints]
    ends = [("flags", pa.list_(pa.string())), ("reason", pa.string()), ("detail", pa.string())]
    return pa.schema([("row", pa.int64()), ("num_tokens", pa.int32()), *losses, *ends])


def _batch(losses: TrajectoryLosses, schema: pa.Schema) -> pa.RecordBatch:
    rejected = np.array([reason is not None for reason in losses.reasons], dtype=np.bool_)
    means = np.round(losses.mean_losses, SCORE_DECIMALS)
    names = {
        bits: [flag.value for flag in unpack_flags(bits)] for bits in set(losses.flags.tolist())
    }
    flags = [
        None if none else names[bits]
        for bits, none in zip(losses.flags.tolist(), rejected.tolist(), strict=True)
    ]
    texts = (list(losses.reasons), list(losses.details))
    arrays = [
        pa.array(losses.rows, pa.int64()),
        pa.array(losses.num_tokens, pa.int32(), mask=rejected),
        *(pa.array(column, pa.float64(), mask=rejected) for column in means),
        pa.array(flags, pa.list_(pa.string())),
        *(pa.array(column, pa.string()) for column in texts),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _line(record: dict[str, Any]) -> bytes:
    known = {name: value for name, value in record.items() if value is not None}
    return orjson.dumps(known, option=orjson.OPT_APPEND_NEWLINE)


def _csv(blocks: Iterator[pa.RecordBatch], names: Sequence[str]) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for block in blocks:
        for record in block.to_pylist():
            flags = CSV_FLAG_SEPARATOR.join(record["flags"] or ())
            writer.writerow(record | {"flags": flags})
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _parquet(blocks: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes]:
    """A row group at a time: the writer pushes, and what it has pushed is sent on before the next one is made."""
    pushed = _Pushed()
    with pq.ParquetWriter(pushed, schema, compression="zstd") as writer:
        while group := list(islice(blocks, GROUP_BLOCKS)):
            writer.write_table(pa.Table.from_batches(group))
            yield pushed.take()
    yield pushed.take()


class _Pushed:
    """A file as far as a Parquet writer needs one; it forgets what was taken from it."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        """Keep what is pushed."""
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing waits here."""

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken
