"""A 1 GB upload: MB/s of the request and of the reading behind it, peak memory of gateway and worker.

Baselines in the same run: a plain copy of the file, and `json.loads` line by line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

from benchmarks.datasets import write_jsonl
from benchmarks.installation import installation, wait_for_dataset
from benchmarks.report import Figure, table

MB = 1_000_000


def measure(num_bytes: int) -> list[Figure]:
    """Every figure of this benchmark."""
    with installation() as service:
        source = service.folder / "source.jsonl"
        rows = write_jsonl(source, num_bytes=num_bytes, answer_words=80)
        megabytes = source.stat().st_size / MB
        copy_s = _timed_copy(source)
        parse_s = _timed_parse(source)
        before = dict(service.memory.peaks)
        service.memory.reset()
        started = time.perf_counter()
        with source.open("rb") as body:
            dataset = service.http.post("/datasets", content=body).raise_for_status().json()
        upload_s = time.perf_counter() - started
        read = wait_for_dataset(service, dataset["id"])
        read_s = time.perf_counter() - started - upload_s
        assert read["rows_read"] == rows, read
        peaks = service.memory.peaks
    return [
        Figure(
            what=f"upload of {megabytes:,.0f} MB",
            value=megabytes / upload_s,
            unit="MB/s",
            baseline="plain file copy",
            baseline_value=megabytes / copy_s,
        ),
        Figure(
            what="reading it into blocks",
            value=megabytes / read_s,
            unit="MB/s",
            baseline="json.loads line by line",
            baseline_value=megabytes / parse_s,
        ),
        *(
            Figure(
                what=f"{process} memory at its peak",
                value=peaks[process],
                unit="MiB",
                baseline="before the upload (the worker holds torch and a model)",
                baseline_value=before[process],
            )
            for process in ("gateway", "worker")
        ),
    ]


def _timed_copy(source: Path) -> float:
    started = time.perf_counter()
    shutil.copyfile(source, source.with_suffix(".copy"))
    return time.perf_counter() - started


def _timed_parse(source: Path) -> float:
    started = time.perf_counter()
    with source.open("rb") as lines:
        for line in lines:
            json.loads(line)
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=1_000_000_000)
    print(table(measure(parser.parse_args().bytes)))
