"""A worker that `winnow serve` keeps: a process of its own, so that computing never holds up answering.

It is started again when it dies, a little later each time it dies early. It ends with its parent: the child reads a
pipe that only the parent holds open, so even a parent that was killed leaves nobody behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Self

import structlog

from winnow.messages import QUEUE_TRAIN
from winnow.settings import Settings

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
LIVED_S = 60.0
"""A worker that lived for so long did not die of how it was started."""

GRACE_S = 10.0
"""A worker gives its unit back within a batch; after this time it is killed, and its lease runs out."""

TRAINING_GRACE_S = 90.0
"""One that trains has a checkpoint saved and uploaded first."""

log = structlog.get_logger(__name__)


class WorkerProcess:
    """Keeps one worker alive for as long as the context lasts. `threads` None: all cores."""

    def __init__(
        self, settings: Settings, *, queues: str, threads: int | None = None, log: IO[bytes]
    ) -> None:
        self._options = ["--queues", queues]
        self._grace_s = grace_of(queues)
        if threads is not None:
            self._options += ["--threads", str(threads)]
        self._environment = os.environ | _variables(settings)
        self._log = log
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="worker-keeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ask_to_end()
        if self._child is not None:
            try:
                self._child.wait(self._grace_s)
            except subprocess.TimeoutExpired:
                self._child.kill()
        self._thread.join()

    def ask_to_end(self) -> None:
        """Begin to end it, so that several end at the same time."""
        with self._lock:
            # Once only: a worker takes a second signal for impatience.
            if self._child is not None and not self._stopping.is_set():
                self._child.terminate()
            self._stopping.set()

    def _keep(self) -> None:
        pause = FIRST_PAUSE_S
        while (child := self._start()) is not None:
            started = time.monotonic()
            exit_code = child.wait()
            if time.monotonic() - started > LIVED_S:
                pause = FIRST_PAUSE_S
            if not self._stopping.is_set():
                log.warning("worker died", exit_code=exit_code, restart_in_s=pause)
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _start(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopping.is_set():
                return None
            # A session of its own: Ctrl-C on the terminal reaches the parent, and the parent ends the worker.
            self._child = subprocess.Popen(  # noqa: S603  # our own command
                # -P: a file of the user's that is called cli.py, where they started us, is not ours.
                [sys.executable, "-P", "-m", "cli", "worker", *self._options, "--with-parent"],
                env=self._environment,
                stdin=subprocess.PIPE,
                # Celery says some things on standard output, which is not its own here.
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
            return self._child


def _variables(settings: Settings) -> dict[str, str]:
    places = {
        "WINNOW_DATA_DIR": str(settings.data_dir.resolve()),
        "WINNOW_DATABASE_URL": settings.database_url,
        "WINNOW_BROKER_URL": settings.broker_url,
        "WINNOW_BLOB_URL": settings.blob_url,
        "WINNOW_MODELS": ",".join(settings.models),
        "WINNOW_LOG_LEVEL": settings.log_level,
    }
    return {name: value for name, value in places.items() if value is not None}


def grace_of(queues: str) -> float:
    """How long a worker on these queues may take to end, in seconds."""
    return TRAINING_GRACE_S if QUEUE_TRAIN in queues.split(",") else GRACE_S


def end_with_parent(grace_s: float) -> None:
    """In the child: be terminated as soon as standard input closes, and killed if that does not help."""

    def watch() -> None:
        # Not through sys.stdin: a thread that waits inside its lock is fatal when the interpreter ends.
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
