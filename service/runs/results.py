"""The scores that a completed run left in the blob store: what downloads, histograms and subsets read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from tempfile import TemporaryFile
from typing import get_args

import numpy as np
import pyarrow.parquet as pq

from service.runs.schemas import Histogram
from winnow.errors import RunNotUsable, ScoresNotReady
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
UPPER_PERCENTILE = 99
"""Where a histogram ends unless told otherwise: the few highest scores would squeeze all others into one bin."""


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
    with blobs.open_read(_path(run)) as file:
        return ScoreTable.read(file, columns=columns)


def stream_scores(blobs: Blobs, run: Run, *, format: ScoreFormat) -> Iterator[bytes]:  # noqa: A002
    """Every row of a completed run in its public form, in constant memory."""
    with blobs.open_read(_path(run)) as file, pq.ParquetFile(file) as parquet:
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


def histogram(
    run: Run, table: ScoreTable, *, bins: int, low: float | None, high: float | None
) -> Histogram:
    """Counts of the scored rows in `bins` equal bins from `low` to `high`."""
    scores = table.score[~np.isnan(table.score)]
    start, stop = _range(scores, low, high)
    counts, edges = np.histogram(scores, bins=bins, range=(start, stop))
    return Histogram(
        run=run.id,
        edges=[round(float(edge), 6) for edge in edges],
        counts=[int(count) for count in counts],
        below=int(np.count_nonzero(scores < edges[0])),
        above=int(np.count_nonzero(scores > edges[-1])),
        scored=len(scores),
        rejected=len(table) - len(scores),
    )


def _range(
    scores: np.ndarray[tuple[int], np.dtype[np.float64]], low: float | None, high: float | None
) -> tuple[float, float]:
    if low is None:
        low = float(scores.min()) if len(scores) else 0.0
    if high is None:
        high = float(np.percentile(scores, UPPER_PERCENTILE)) if len(scores) else low + 1.0
    return low, max(low, high)


def _path(run: Run) -> str:
    return f"runs/{run.id}/scores.parquet"
