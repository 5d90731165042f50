"""Does the memory of `winnow score` grow with the rows? 50,000 short ones against 5,000, with winnow-mini."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.datasets import write_jsonl
from benchmarks.report import Figure, table
from benchmarks.scoring.contest import ROOT
from benchmarks.scoring.worker import peak_mib

FEW, MANY = 5_000, 50_000
ANSWER_WORDS = 3
"""Short answers, so that it ends within minutes: rows are what may fill memory, their tokens are a block's."""
LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Peak resident set in MiB, and how long each took."""

    few_rows: int
    few_mib: float
    few_s: float
    many_rows: int
    many_mib: float
    many_s: float

    def markdown(self) -> str:
        """The figures beside each other."""
        peak = Figure(
            what=f"peak memory of winnow score, {self.many_rows:,} rows in {self.many_s:.0f} s",
            value=self.many_mib,
            unit="MiB",
            baseline=f"{self.few_rows:,} rows in {self.few_s:.0f} s",
            baseline_value=self.few_mib,
        )
        return table([peak])


def measure() -> Memory:
    """Score both, one after the other."""
    few_mib, few_s = _score(FEW)
    many_mib, many_s = _score(MANY)
    return Memory(
        few_rows=FEW,
        few_mib=few_mib,
        few_s=few_s,
        many_rows=MANY,
        many_mib=many_mib,
        many_s=many_s,
    )


def _score(rows: int) -> tuple[float, float]:
    """Peak memory and seconds of a whole `winnow score`."""
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder:
        source, scores = Path(folder) / "rows.jsonl", Path(folder) / "scores.parquet"
        write_jsonl(source, rows=rows, answer_words=ANSWER_WORDS)
        started = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-m", "cli", "score", source, "--scores", scores],
            cwd=ROOT,
            stdout=sys.stderr,
            env={**os.environ, "WINNOW_LOG_LEVEL": "warning"},
        ) as process:
            peak = 0.0
            while process.poll() is None:
                peak = max(peak, peak_mib(process.pid))
                time.sleep(LOOK_EVERY_S)
        assert process.returncode == 0
        return peak, time.perf_counter() - started
