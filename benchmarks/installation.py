"""A whole embedded installation as real processes on a temporary folder, and the memory that they take.

`winnow serve` runs the gateway and the sweeper; its child is the worker. Both are watched by their resident set.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

MIB = 1024**2
START_TIMEOUT_S = 120.0


@dataclass
class PeakMemory:
    """The largest resident set of the gateway and of its worker, in MiB, since `reset`."""

    gateway: psutil.Process
    peaks: dict[str, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Sample until `stop`."""
        while not self._stop.wait(0.05):
            self._sample("gateway", self.gateway)
            for child in self.gateway.children():
                if "worker" in child.cmdline():
                    self._sample("worker", child)

    def _sample(self, name: str, process: psutil.Process) -> None:
        try:
            resident = process.memory_info().rss / MIB
        except psutil.NoSuchProcess:
            return
        self.peaks[name] = max(self.peaks.get(name, 0.0), resident)

    def reset(self) -> None:
        """Forget what was seen."""
        self.peaks.clear()

    def stop(self) -> None:
        """End the watching."""
        self._stop.set()


@dataclass(frozen=True)
class Installation:
    """A running embedded service."""

    url: str
    folder: Path
    http: httpx.Client
    memory: PeakMemory


@contextmanager
def installation() -> Iterator[Installation]:
    """Start `winnow serve` in a temporary folder, wait until it is ready, end it."""
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
        folder = Path(name)
        log = (folder / "serve.log").open("wb")
        server = subprocess.Popen(
            [sys.executable, "-m", "cli", "serve", "--port", "0", "--data-dir", name],
            stderr=log,
            env={**os.environ, "WINNOW_LOG_LEVEL": "warning"},
        )
        memory = PeakMemory(psutil.Process(server.pid))
        watcher = threading.Thread(target=memory.watch, daemon=True)
        try:
            url = _wait_for_url(folder / "serve.log", server)
            watcher.start()
            with httpx.Client(base_url=url, timeout=600) as http:
                yield Installation(url=url, folder=folder, http=http, memory=memory)
        finally:
            memory.stop()
            server.terminate()
            server.wait(60)
            log.close()


def _wait_for_url(log: Path, server: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if "ready at" in line:
                return next(word for word in line.split() if word.startswith("http://"))
        time.sleep(0.1)
    raise RuntimeError(f"the service did not start:\n{log.read_text(encoding='utf-8')}")


def wait_for_dataset(service: Installation, dataset_id: str) -> dict[str, object]:
    """Poll a dataset until it has been read."""
    while True:
        dataset: dict[str, object] = service.http.get(f"/datasets/{dataset_id}").json()
        if dataset["status"] != "ingesting":
            return dataset
        time.sleep(0.2)
