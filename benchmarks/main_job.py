"""The main job on real input, every way there is: the same bytes, and no row lost.

A JSONL file is scored with winnow-mini in float32 through HTTP embedded, through HTTP on Postgres, Redis and two worker
processes, through the command line, and once more as a service with a worker killed, Redis flushed and Postgres
restarted in the middle. Subsets are compared by digest; scored + rejected must be the rows read. After the kill the
dead worker's unit has to be free for others within 30 seconds, after the other faults new rows have to be done within
them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import redis
from sqlalchemy import text

from benchmarks.installation import installation
from winnow.store import migrate
from winnow.store.embedded import EmbeddedPostgres
from winnow.store.keys import create_key
from winnow.store.session import Database

OWNER = "benchmark"
GOES_ON_WITHIN_S = 30.0

_UNIT_OF = "SELECT id FROM work WHERE state = 'running' AND worker_id LIKE :worker"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one way of scoring gave; `resumed_s` is the time to new progress after each fault."""

    way: str
    digest: str
    rows: int
    scored: int
    rejected: int
    seconds: float
    resumed_s: tuple[float, ...] = ()

    def row(self) -> str:
        """The outcome as a row of a Markdown table."""
        resumed = ", ".join(f"{seconds:.1f} s" for seconds in self.resumed_s)
        rate = self.rows / self.seconds
        return (
            f"| {self.way} | {self.scored} + {self.rejected} = {self.rows} | {self.digest[:16]} "
            f"| {self.seconds:,.0f} s, {rate:.1f} rows/s | {resumed} |"
        )


def command_line(source: Path, folder: Path) -> Outcome:
    """`winnow score`."""
    subset, scores = folder / "subset.jsonl", folder / "scores.jsonl"
    started = time.perf_counter()
    command = ["score", str(source), "--ratio", "0.1", "-o", str(subset), "--scores", str(scores)]
    subprocess.run([sys.executable, "-m", "cli", *command], check=True, stderr=subprocess.DEVNULL)
    lines = [json.loads(line)["status"] for line in scores.read_text().splitlines()]
    return Outcome(
        way="`winnow score`",
        digest=hashlib.sha256(subset.read_bytes()).hexdigest(),
        rows=len(lines),
        scored=lines.count("scored"),
        rejected=lines.count("rejected"),
        seconds=time.perf_counter() - started,
    )


def embedded(source: Path) -> Outcome:
    """`winnow serve` with nothing set."""
    with installation() as service:
        return _score_over_http(service.http, source, "HTTP, embedded", [])


class Service:
    """Gateway, two workers and a sweeper as processes on a Postgres of their own and a Redis number."""

    def __init__(self, folder: Path, broker: str, stack: ExitStack) -> None:
        self._stack = stack
        self.postgres = stack.enter_context(EmbeddedPostgres(folder))
        self.broker = redis.Redis.from_url(broker)
        if self.broker.dbsize():
            raise SystemExit(f"{broker} holds keys; name an empty Redis number with --broker")
        migrate.upgrade(self.postgres.url)
        self._environment = {
            **os.environ,
            "WINNOW_DATABASE_URL": self.postgres.url,
            "WINNOW_BROKER_URL": broker,
            "WINNOW_BLOB_URL": (folder / "blobs").as_uri(),
            "WINNOW_LOG_LEVEL": "error",
        }
        self._log = stack.enter_context((folder / "service.log").open("wb"))
        self.gateway = self._start("serve", "--gateway-only", "--port", "8791")
        self.workers = [self.start_worker() for _ in range(2)]
        self._start("sweep")
        self.http = self._client()
        stack.callback(self.http.close)

    def start_worker(self) -> subprocess.Popen[bytes]:
        """One more worker, on one core."""
        return self._start("worker", "--queues", "io,score", "--threads", "1")

    def start_trainer(self) -> subprocess.Popen[bytes]:
        """A worker for fine-tuning jobs."""
        return self._start("worker", "--queues", "train", "--threads", "1")

    def kill_a_worker(self, run_id: str) -> float:
        """SIGKILL, and a new worker as a supervisor would start it; seconds until the dead one's unit is free."""
        dead = self.workers[0].pid
        held = self._query(_UNIT_OF, worker=f"%:{dead}:%")
        self.workers[0].kill()
        started = time.perf_counter()
        self.workers[0] = self.start_worker()
        while held and self._query(_UNIT_OF, worker=f"%:{dead}:%") == held:
            time.sleep(0.2)
        _until_new_rows(self.http, run_id)
        return time.perf_counter() - started

    def flush_redis(self, run_id: str) -> float:
        """Lose every message; seconds until new rows are done."""
        self.broker.flushdb()
        return _until_new_rows(self.http, run_id)

    def restart_postgres(self, run_id: str) -> float:
        """Stop the server and start it again; seconds from the stop until new rows are done."""
        started = time.perf_counter()
        self.postgres.stop()
        self.postgres.start()
        _until_new_rows(self.http, run_id)
        return time.perf_counter() - started

    def _query(self, query: str, **values: object) -> int | None:
        database = Database(self.postgres.url)
        with database.transaction() as connection:
            found: int | None = connection.execute(text(query), values).scalar()
        database.dispose()
        return found

    def _client(self) -> httpx.Client:
        database = Database(self.postgres.url)
        with database.transaction() as connection:
            key = create_key(connection, owner=OWNER)
        database.dispose()
        client = httpx.Client(
            base_url="http://127.0.0.1:8791",
            headers={"Authorization": f"Bearer {key}"},
            timeout=120,
        )
        for _ in range(600):
            try:
                client.get("/healthz").raise_for_status()
            except httpx.TransportError:
                time.sleep(0.1)
            else:
                break
        return client

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", *arguments], env=self._environment, stderr=self._log
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        return process


def service(source: Path, folder: Path, broker: str, *, faults: bool) -> Outcome:
    """Postgres, Redis, two workers; with `faults`, each of them is hit once while rows are being scored."""
    with ExitStack() as stack:
        running = Service(folder, broker, stack)
        stack.callback(running.broker.flushdb)
        hits = [running.kill_a_worker, running.flush_redis, running.restart_postgres]
        way = "HTTP, Postgres + Redis + 2 workers"
        if not faults:
            return _score_over_http(running.http, source, way, [])
        return _score_over_http(running.http, source, f"{way}, three faults", hits)


def _score_over_http(
    http: httpx.Client, source: Path, way: str, hits: Sequence[Callable[[str], float]]
) -> Outcome:
    started = time.perf_counter()
    with source.open("rb") as body:
        run = http.post("/score", content=body).raise_for_status().json()
    resumed = []
    for number, hit in enumerate(hits, start=1):
        _wait_for_blocks(http, run["id"], 3 * number)
        resumed.append(hit(run["id"]))
    while (state := _state(http, run["id"]))["status"] not in {"completed", "failed"}:
        time.sleep(0.5)
    assert state["status"] == "completed", state
    seconds = time.perf_counter() - started
    subset = http.get("/subsets", params={"run": run["id"], "ratio": "0.1"}).raise_for_status()
    return Outcome(
        way=way,
        digest=hashlib.sha256(subset.content).hexdigest(),
        rows=state["counts"]["rows"],
        scored=state["counts"]["rows_scored"],
        rejected=state["counts"]["rows_rejected"],
        seconds=seconds,
        resumed_s=tuple(resumed),
    )


def _wait_for_blocks(http: httpx.Client, run_id: str, blocks: int) -> None:
    while (state := _state(http, run_id))["counts"]["blocks_done"] < blocks:
        assert state["status"] != "failed", state
        time.sleep(0.2)


def _until_new_rows(http: httpx.Client, run_id: str) -> float:
    started = time.perf_counter()
    before = _state(http, run_id)["counts"]["rows_done"]
    while _state(http, run_id)["counts"]["rows_done"] <= before:
        time.sleep(0.1)
    return time.perf_counter() - started


def _state(http: httpx.Client, run_id: str) -> dict[str, Any]:
    """The run; asked again while the database is away (503)."""
    while True:
        answer = http.get(f"/runs/{run_id}")
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            state: dict[str, Any] = answer.raise_for_status().json()
            return state
        time.sleep(0.2)


def main() -> None:
    """Score the file every way and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/dolly.jsonl"))
    parser.add_argument("--broker", default="redis://127.0.0.1:6379/9", help="A number to empty.")
    options = parser.parse_args()
    if not options.data.exists():
        print(f"skipped: {options.data} is not here; name a JSONL file with --data")
        return
    print("| way | scored + rejected = rows | sha256 of the tenth | time | goes on after |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    ways: list[Callable[[Path], Outcome]] = [
        lambda folder: service(options.data, folder, options.broker, faults=True),
        lambda folder: service(options.data, folder, options.broker, faults=False),
        lambda folder: command_line(options.data, folder),
        lambda _: embedded(options.data),
    ]
    outcomes = []
    for way in ways:
        with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
            outcomes.append(way(Path(name)))
        print(outcomes[-1].row(), flush=True)
    assert len({outcome.digest for outcome in outcomes}) == 1, "the subsets differ"
    assert all(outcome.scored + outcome.rejected == outcome.rows for outcome in outcomes)
    assert all(seconds < GOES_ON_WITHIN_S for outcome in outcomes for seconds in outcome.resumed_s)


if __name__ == "__main__":
    main()
