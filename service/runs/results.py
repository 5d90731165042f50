"""The scores that a completed run left in the blob store: what downloads, figures and subsets read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from tempfile import TemporaryFile
from typing import get_args

import numpy as np
import pyarrow.parquet as pq

from winnow.errors import RunNotUsable, ScoresNotReady
from winnow.records.blocks import Rows
from winnow.scores import ScoreFormat, ScoreTable, score_lines, write_scores
from winnow.store.blobs import Blobs
from winnow.store.runs import Run

FORMATS = get_args(ScoreFormat)
MEDIA_TYPES: dict[str, str] = {
    "jsonl": "application/jsonl",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}

CHUNK_BYTES = 1024**2


def refuse_dry_run(run: Run, *, param: str = "run") -> None:
    """Refuse a run that never has scores; `param` is what named it.

    Raises:
        RunNotUsable: it is a dry run.
    """
    if run.dry_run:
        raise RunNotUsable(
            f"The run {run.id} is a dry run: it has an estimate and no scores. POST to /score without dry_run.",
            param=param,
        )


def require_completed(run: Run, *, param: str = "run") -> None:
    """Refuse a run whose scores are not all there; `param` is what named it.

    Raises:
        ScoresNotReady: it still works.
        RunNotUsable: it failed, was cancelled, or is a dry run.
    """
    refuse_dry_run(run, param=param)
    if run.status in {"failed", "cancelled"}:
        reason = f" ({run.error.message})" if run.error else ""
        raise RunNotUsable(
            f"The run {run.id} has {run.status.replace('cancelled', 'been cancelled')}{reason}. "
            "Start another with POST /score.",
            param=param,
        )
    if run.status != "completed":
        raise ScoresNotReady(
            f"The run {run.id} is {run.status}: {run.rows_done} of {run.rows or 'its'} rows are scored. "
            "Ask again after Retry-After seconds.",
            param=param,
        )


def read_scores(blobs: Blobs, run: Run, *, columns: Sequence[str] | None = None) -> ScoreTable:
    """The score table of a completed run, or some of its columns."""
    with blobs.open_read(score_path(run)) as file:
        return ScoreTable.read(file, columns=columns)


def stream_scores(blobs: Blobs, run: Run, *, format: ScoreFormat) -> Iterator[bytes]:  # noqa: A002
    """Every row of a completed run in its public form, in constant memory."""
    with blobs.open_read(score_path(run)) as file, pq.ParquetFile(file) as parquet:
        batches = parquet.iter_batches(batch_size=16_384)
        if format == "jsonl":
            for batch in batches:
                yield b"".join(score_lines(batch))
            return
        # CSV and Parquet writers push into a file, so the answer is written down before it is sent.
        with TemporaryFile() as spool:
            write_scores(batches, spool, format=format)
            spool.seek(0)
            while chunk := spool.read(CHUNK_BYTES):
                yield chunk


def read_details(blobs: Blobs, run: Run, rows: Rows) -> dict[int, str | None]:
    """Why each of these rows of a completed run has no score; only the row groups that hold one of them are read."""
    if not len(rows):
        return {}
    found: dict[int, str | None] = {}
    with blobs.open_read(score_path(run)) as file, pq.ParquetFile(file) as parquet:
        groups = range(parquet.num_row_groups)
        starts = np.cumsum([0, *(parquet.metadata.row_group(group).num_rows for group in groups)])
        places = np.searchsorted(starts, rows, side="right") - 1
        for group in np.unique(places).tolist():
            details = parquet.read_row_group(group, columns=["detail"]).column("detail")
            for row in rows[places == group].tolist():
                found[row] = details[row - int(starts[group])].as_py()
    return found


def score_path(run: Run) -> str:
    """Where the scores of a completed run lie in the blob store."""
    return f"runs/{run.id}/scores.parquet"
