"""GET /subsets?ratio=0.1 on a run of 1,000,000 scored rows: first byte, rows a second, gateway memory.

The rows go in through HTTP. Their scores are drawn at random and written through the same claims and transactions as a
worker's, under a model that no worker offers; the finalise unit is the worker's own. Baselines in the same run: a copy
of the uploaded file, and the selection as an unindexed query on the table of scores.
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from pathlib import Path

from sqlalchemy import text

from benchmarks.datasets import write_jsonl
from benchmarks.installation import Installation, installation, wait_for_dataset
from benchmarks.report import Figure, table
from winnow.proxy.engine import SpanLoss
from winnow.records.example import BLOCK_ROWS
from winnow.scores import RowScore
from winnow.settings import Settings
from winnow.spec import RunSpec
from winnow.store.embedded import EmbeddedPostgres
from winnow.store.runs import create_run, get_run
from winnow.store.session import Database
from winnow.store.work import claim, finish_score

OWNER = "local"
MODEL_OF_NOBODY = "benchmark"


def measure(rows: int) -> list[Figure]:
    """Every figure of this benchmark."""
    with installation() as service:
        source = service.folder / "source.jsonl"
        write_jsonl(source, rows=rows)
        run_id = scored_run(service, source, rows)
        return [
            *_read_subset(service, source, run_id, rows),
            *_query_baseline(service, run_id, rows),
        ]


def scored_run(service: Installation, source: Path, rows: int) -> str:
    with source.open("rb") as body:
        dataset = service.http.post("/datasets", content=body).raise_for_status().json()
    assert wait_for_dataset(service, dataset["id"])["rows_read"] == rows
    database = Database(EmbeddedPostgres(service.folder).url)
    run_id = _score(database, dataset["id"])
    while _is_active(database, run_id):
        time.sleep(0.5)
    database.dispose()
    return run_id


def _is_active(database: Database, run_id: str) -> bool:
    """Whether the run is still being finalised by the worker."""
    with database.transaction() as connection:
        return get_run(connection, owner=OWNER, run_id=run_id).active


def _score(database: Database, dataset_id: str) -> str:
    spec = RunSpec.make(model=MODEL_OF_NOBODY)
    with database.transaction() as connection:
        run, wakeups = create_run(
            connection, owner=OWNER, dataset_id=dataset_id, spec=spec, settings=Settings()
        )
    random_ = random.Random(11)
    pending = [wakeup.work_id for wakeup in wakeups]
    while pending:
        with database.transaction() as connection:
            unit = claim(
                connection, pending.pop(0), worker_id="bench", lease_s=600, queues=[run.offer.queue]
            )
            if unit is None:  # the finalise unit: the worker's
                continue
            first = unit.first_block * BLOCK_ROWS
            last = min(first + unit.num_blocks * BLOCK_ROWS, run.rows or 0)
            scores = [_row_score(random_, row) for row in range(first, last)]
            pending += [wakeup.work_id for wakeup in finish_score(connection, unit, scores)]
    return run.id


def _row_score(random_: random.Random, row: int) -> RowScore:
    return RowScore(
        row=row,
        score=round(random_.gauss(0.8, 0.15), 6),
        conditioned=SpanLoss(nll=random_.random() * 100, num_tokens=60),
        direct=SpanLoss(nll=random_.random() * 100, num_tokens=59),
    )


def _read_subset(service: Installation, source: Path, run_id: str, rows: int) -> list[Figure]:
    before = service.memory.gateway.memory_info().rss / 1024**2
    service.memory.reset()
    started = time.perf_counter()
    first_byte, lines = None, 0
    with service.http.stream("GET", "/subsets", params={"run": run_id, "ratio": "0.1"}) as answer:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            first_byte = first_byte or time.perf_counter() - started
            lines += chunk.count(b"\n")
    seconds = time.perf_counter() - started
    assert lines == rows // 10
    copied = time.perf_counter()
    shutil.copyfile(source, source.with_suffix(".copy"))
    copy_s = time.perf_counter() - copied
    return [
        Figure(what="first byte of /subsets?ratio=0.1", value=first_byte or 0.0, unit="s"),
        Figure(
            what="rows out",
            value=lines / seconds,
            unit="rows/s",
            baseline="plain copy of the upload, all rows",
            baseline_value=rows / copy_s,
        ),
        Figure(
            what="gateway memory at its peak",
            value=service.memory.peaks["gateway"],
            unit="MiB",
            baseline="before the request",
            baseline_value=before,
        ),
    ]


def _query_baseline(service: Installation, run_id: str, rows: int) -> list[Figure]:
    """The same rows by an unindexed query that sorts the table."""
    query = text(
        "SELECT row FROM score WHERE run_id = :run AND score < 1 ORDER BY score DESC, row LIMIT :k"
    )
    database = Database(EmbeddedPostgres(service.folder).url)
    with database.transaction() as connection:
        started = time.perf_counter()
        connection.execute(query, {"run": run_id, "k": rows // 10}).all()
        seconds = time.perf_counter() - started
    database.dispose()
    started = time.perf_counter()
    service.http.head("/subsets", params={"run": run_id, "ratio": "0.1"}).raise_for_status()
    return [
        Figure(
            what="selection alone (HEAD /subsets)",
            value=time.perf_counter() - started,
            unit="s",
            baseline="unindexed query on the table",
            baseline_value=seconds,
        )
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    print(table(measure(parser.parse_args().rows)))
