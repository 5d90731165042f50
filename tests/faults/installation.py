"""A whole installation of real processes, which a test breaks in the middle of a run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text

from tests.servers import service_env
from winnow.messages import Wakeup
from winnow.records.blocks import BlockReader
from winnow.records.example import BLOCK_ROWS
from winnow.records.render import render
from winnow.scores import ScoreTable
from winnow.selection.ratio import Selection, select
from winnow.settings import Settings
from winnow.spec import RunSpec
from winnow.store.blobs import Blobs
from winnow.store.datasets import create_dataset
from winnow.store.ids import new_id
from winnow.store.runs import Run, create_run, load_run
from winnow.store.session import Database
from winnow.store.workers_registry import LiveWorker, live_workers
from workers.app import make_app
from workers.publisher import make_publisher
from workers.sweep import sweep_forever

ROOT = Path(__file__).parents[2]
TINY_MODEL = str(ROOT / "tests" / "golden" / "tiny-gpt2")

RESUMES_WITHIN_S = 30.0
"""The promise: a run goes on within this time after any fault."""

REAL_WORKER = ("-m", "cli", "worker", "--queues", "io,score", "--threads", "1")
QUICK_WORKER = ("-m", "tests.faults.worker_main")

NUM_BLOCKS = 4
NUM_ROWS = NUM_BLOCKS * BLOCK_ROWS - 100


def rows_of_text(num_rows: int = NUM_ROWS) -> bytes:
    """JSON lines; every fiftieth has no answer."""
    rows = (
        {
            "instruction": f"Write {number} in another way",
            "input": "" if number % 3 else f"base {2 + number % 15}",
            "output": "" if number % 50 == 7 else f"{number} is {number:b} and {number:x}.",
        }
        for number in range(num_rows)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def wait_for(what: Callable[[], Any], *, within_s: float = RESUMES_WITHIN_S) -> Any:
    """The first true answer of `what`."""
    deadline = time.monotonic() + within_s
    while not (answer := what()):
        assert time.monotonic() < deadline, f"waited {within_s:g} s in vain"
        time.sleep(0.02)
    return answer


@dataclass
class Installation:
    """Settings with short times, a sweeper, and workers that a test may kill."""

    settings: Settings
    folder: Path
    worker_command: Sequence[str] = QUICK_WORKER
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = Database(self.settings.database_url or "")
        self.blobs = Blobs(self.settings.blob_url or "")
        self.publish = make_publisher(make_app(self.settings))

    @contextmanager
    def running(self, *, num_workers: int) -> Iterator[None]:
        """Workers and a sweeper, until the block ends."""
        stop = threading.Event()
        sweeper = threading.Thread(target=sweep_forever, args=(self.settings, stop))
        with ExitStack() as stack:
            stack.callback(self.database.dispose)
            stack.callback(self._kill_workers)
            for _ in range(num_workers):
                self.start_worker()
            sweeper.start()
            stack.callback(sweeper.join)
            stack.callback(stop.set)
            yield

    def start_worker(self) -> subprocess.Popen[bytes]:
        environment = os.environ | service_env(self.settings) | {"PYTHONPATH": str(ROOT)}
        with (self.folder / f"worker-{len(self.workers)}.log").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, *self.worker_command],
                env=environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self.workers.append(worker)
        return worker

    def worker_of(self, unit: Any) -> subprocess.Popen[bytes]:
        """The process that holds a unit."""
        pid = int(unit.worker_id.split(":")[1])
        return next(worker for worker in self.workers if worker.pid == pid)

    def start_run(
        self, data: bytes | None = None, *, webhook_url: str | None = None, **options: Any
    ) -> str:
        """Post a dataset and score it, as the gateway does."""
        data = rows_of_text() if data is None else data
        dataset_id = new_id("ds")
        with self.blobs.write(f"datasets/{dataset_id}/upload") as file:
            file.write(data)
        with self.database.transaction() as connection:
            _, ingest = create_dataset(
                connection,
                owner="alice",
                dataset_id=dataset_id,
                name=None,
                sha256=dataset_id,
                size_bytes=len(data),
                requested_format="auto",
                settings=self.settings,
            )
            spec = RunSpec.make(model=self.settings.models[0], **options)
            run, scoring = create_run(
                connection,
                owner="alice",
                dataset_id=dataset_id,
                spec=spec,
                webhook_url=webhook_url,
                settings=self.settings,
            )
        self.publish([*ingest, *scoring])
        return run.id

    def run(self, run_id: str) -> Run:
        with self.database.transaction() as connection:
            return load_run(connection, run_id)

    def units(self, run_id: str) -> Sequence[Any]:
        """The scoring units of a run as they stand."""
        statement = text("SELECT * FROM work WHERE run_id = :run_id AND kind = 'score' ORDER BY id")
        with self.database.transaction() as connection:
            return connection.execute(statement, {"run_id": run_id}).all()

    def wait_until_in_the_middle(self, run_id: str) -> Any:
        """Some units are done, and this one is half done."""

        def half_done() -> Any:
            units = self.units(run_id)
            working = (unit for unit in units if unit.state == "running" and unit.rows_done > 0)
            return any(unit.state == "done" for unit in units) and next(working, None)

        return wait_for(half_done, within_s=60)

    def wait_until_completed(self, run_id: str) -> Run:
        """The run as it ended, which must be within the time that is promised."""
        wait_for(lambda: not self.run(run_id).active)
        run = self.run(run_id)
        assert run.status == "completed", (run.error, self.logs())
        return run

    def live_workers(self) -> list[LiveWorker]:
        """The workers that have shown themselves."""
        with self.database.transaction() as connection:
            return live_workers(connection)

    def publish_again(self, run_id: str, *, times: int) -> None:
        """Send the message of every unit of a run once more, and more often."""
        for unit in self.units(run_id):
            self.publish([Wakeup(work_id=unit.id, queue=unit.queue)] * times)

    def digest(self, run_id: str) -> str:
        """A hash of the best tenth and its scores, after a check that every row has exactly one outcome."""
        run = self.run(run_id)
        with self.blobs.open_read(f"runs/{run_id}/scores.parquet") as file:
            table = ScoreTable.read(file)
        assert np.array_equal(table.row, np.arange(run.rows or -1))
        rejected = len(table) - table.table.column("reason").null_count
        assert (run.rows_scored, run.rows_rejected) == (table.num_scored, rejected)
        assert table.num_scored + rejected == run.rows == run.rows_done
        reader = BlockReader(*self.blobs.folder(f"datasets/{run.dataset_id}/rows"))
        rows = select(table, Selection.make(ratio=0.1), sources=reader.sources).rows
        hashed = hashlib.sha256(b"".join(render(reader, rows, format="jsonl")))
        hashed.update(table.take(rows).column("score").to_numpy().tobytes())
        return hashed.hexdigest()

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("worker-*.log")))

    def _kill_workers(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()


def hurried(settings: Settings, **changes: Any) -> Settings:
    """The settings with times in which a test can wait for what takes minutes otherwise."""
    short = {"lease_s": 2.0, "sweep_interval_s": 0.3, "republish_after_s": 2.0}
    return settings.model_copy(update=short | changes)
