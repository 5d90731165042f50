"""The losses of a trajectory are sent while they are read, in the memory of a few blocks."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.trajectories.losses import BLOCKS_AHEAD, GROUP_BLOCKS, stream_losses
from winnow.scores import ScoreFormat
from winnow.spec import RunSpec
from winnow.store.blobs import Blobs
from winnow.store.losses import LossFiles
from winnow.store.trajectories import KeptCheckpoint, Trajectory
from winnow.trajectory import LOSS_SCHEMA

BLOCKS, BLOCK_ROWS = 60, 4
CHECKPOINTS = [
    KeptCheckpoint(
        position=position,
        step=10 * position,
        epoch=position,
        point=True,
        folder=None,
        blocks_done=BLOCKS,
        mean_loss=1.0,
        created_at=0.0,
    )
    for position in range(3)
]
TRAJECTORY = Trajectory(
    id="traj_a",
    owner="alice",
    dataset_id="ds_a",
    spec=RunSpec.make(method="s2l"),
    revision="abc",
    window=512,
    status="completed",
    rows=BLOCKS * BLOCK_ROWS,
    blocks=BLOCKS,
    num_checkpoints=len(CHECKPOINTS),
    checkpoints_done=len(CHECKPOINTS),
    rows_done=BLOCKS * BLOCK_ROWS * len(CHECKPOINTS),
    keep_weights=False,
    training=None,
    error=None,
    created_at=0.0,
    started_at=0.0,
    finished_at=0.0,
)


class CountedBlobs(Blobs):
    """A folder that counts how many of its files were opened."""

    num_opened = 0

    def open_read(self, path: str) -> BinaryIO:
        """Open one more."""
        self.num_opened += 1
        return super().open_read(path)


@pytest.fixture
def blobs(tmp_path: Path) -> CountedBlobs:
    """The losses of `TRAJECTORY`; the last row of every block was rejected, and the first one cut."""
    blobs = CountedBlobs(tmp_path.as_uri())
    files = LossFiles(blobs=blobs, trajectory_id=TRAJECTORY.id)
    for checkpoint in CHECKPOINTS:
        for block in range(BLOCKS):
            files.write(checkpoint.position, block, _losses(checkpoint.position, block))
    return blobs


def _losses(position: int, block: int) -> pa.RecordBatch:
    rows = range(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS)
    learned = [row % BLOCK_ROWS != BLOCK_ROWS - 1 for row in rows]
    columns = {
        "row": list(rows),
        "nll": [
            (row + 1) / (position + 1) if one else None
            for row, one in zip(rows, learned, strict=True)
        ],
        "num_tokens": [3 if one else None for one in learned],
        "flags": [int(row % BLOCK_ROWS == 0) for row in rows],
        "reason": [None if one else "empty_answer" for one in learned],
        "detail": [None if one else "line 1" for one in learned],
    }
    return pa.RecordBatch.from_pydict(columns, schema=LOSS_SCHEMA)


@pytest.mark.parametrize("format_", ["parquet", "jsonl", "csv"])
def test_the_first_bytes_come_before_the_last_blocks_are_read(
    blobs: CountedBlobs, format_: ScoreFormat
) -> None:
    stream = stream_losses(blobs, TRAJECTORY, CHECKPOINTS, format=format_)
    assert next(stream)
    # One more block may have been asked for while the group was made.
    at_most = (GROUP_BLOCKS + BLOCKS_AHEAD + 1) * len(CHECKPOINTS)
    assert 0 < blobs.num_opened <= at_most < BLOCKS * len(CHECKPOINTS)
    stream.close()  # type: ignore[attr-defined]


def test_every_form_has_every_row(blobs: CountedBlobs) -> None:
    def whole(format_: ScoreFormat) -> bytes:
        return b"".join(stream_losses(blobs, TRAJECTORY, CHECKPOINTS, format=format_))

    file = pq.ParquetFile(io.BytesIO(whole("parquet")))
    assert file.num_row_groups == -(-BLOCKS // GROUP_BLOCKS)
    rows = file.read().to_pylist()
    assert [row["row"] for row in rows] == list(range(BLOCKS * BLOCK_ROWS))
    assert rows[4] == {
        "row": 4,
        "num_tokens": 3,
        "loss_0": 1.666667,
        "loss_10": 0.833333,
        "loss_20": 0.555556,
        "flags": ["truncated"],
        "reason": None,
        "detail": None,
    }
    assert rows[7] == dict.fromkeys(rows[7]) | {
        "row": 7,
        "reason": "empty_answer",
        "detail": "line 1",
    }
    lines = [orjson.loads(line) for line in whole("jsonl").splitlines()]
    assert lines == [
        {name: value for name, value in row.items() if value is not None} for row in rows
    ]
    parsed = list(csv.DictReader(io.StringIO(whole("csv").decode(), newline="")))
    assert [row["loss_10"] for row in parsed[4:8]] == ["0.833333", "1.0", "1.166667", ""]
    assert (parsed[4]["flags"], parsed[7]["reason"]) == ("truncated", "empty_answer")
