"""A row that kills whichever worker reads it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.conftest import named
from tests.faults.installation import Installation, hurried, wait_for
from tests.faults.worker_main import POISON


@contextmanager
def kept_alive(installation: Installation) -> Iterator[None]:
    """Start a worker again whenever it dies, as a container platform does."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(0.1):
            if installation.workers[-1].poll() is not None:
                installation.start_worker()

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def test_poison_ends_as_a_failed_run_with_the_reason_and_other_runs_go_on(
    tmp_path: Path, database_url: str, own_broker_url: str
) -> None:
    settings = hurried(named(tmp_path, database_url, own_broker_url), max_attempts=2, lease_s=1.0)
    installation = Installation(settings, tmp_path)
    poison = {"instruction": "Drink", "output": POISON.decode()}
    with installation.running(num_workers=1), kept_alive(installation):
        deadly = installation.start_run(json.dumps(poison).encode() + b"\n")
        healthy = installation.start_run()
        wait_for(lambda: not installation.run(deadly).active)
        run = installation.run(deadly)
        assert run.error is not None
        assert (run.status, run.error.code) == ("failed", "worker_lost")
        assert "2 times" in run.error.message
        installation.wait_until_completed(healthy)
        assert len(installation.workers) == 3
