"""The training subprocess as the worker sees it: start it, hear it, stop it. No model framework is imported.

It is a process group of its own, so nothing that ends it can reach the worker. It ends with the worker: each of its
processes reads a pipe that only the worker holds open, so even a worker that was killed leaves none behind.

    with TrainingProcess.start(folder, processes=1, threads=1) as training:
        while not training.ended:
            for event in training.events(timeout_s=1):
                ...
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from winnow.training.events import Crashed, Done, Failed, Stopped, TrainingEvent, parse
from winnow.training.job import LAUNCH_FILE, LOG_FILE

LEFTOVER_S = 5.0
"""How long the last process of a killed group may take to notice that its parent let go."""


class TrainingProcess:
    """A training subprocess, killed with all its processes when the context ends."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._lines: IO[bytes] = child.stdout  # type: ignore[assignment]
        self._events: queue.SimpleQueue[TrainingEvent | None] = queue.SimpleQueue()
        self._heard_last = False
        self._heard_all = False
        self._reader = threading.Thread(target=self._read, name="training-events", daemon=True)
        self._reader.start()

    @classmethod
    def start(cls, folder: Path, *, processes: int = 1, threads: int = 1) -> Self:
        """Train the job of `folder`, from its newest complete checkpoint on if there is one.

        `processes` is `spec.processes`; they share `threads` threads, at least one each.
        """
        launcher = [] if processes == 1 else _launcher(folder / LAUNCH_FILE, processes)
        with (folder / LOG_FILE).open("ab") as log:
            # The command is this interpreter and modules of ours.
            child = subprocess.Popen(  # noqa: S603
                [
                    # -P: a file of the user's that is called winnow.py, where they started us, is not ours.
                    *[sys.executable, "-P", *launcher, "-m", "winnow.training.main"],
                    *[str(folder), str(threads), "--with-parent"],
                ],
                env=os.environ | _variables(processes, max(1, threads // processes)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        return cls(child)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process id of its first process, which is also that of its group."""
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative: the signal that ended it. The last event says more."""
        return self._child.poll()

    @property
    def ended(self) -> bool:
        """Whether it is over and `events` has yielded all that it said."""
        return self._heard_all and self.returncode is not None

    def events(self, timeout_s: float) -> Iterator[TrainingEvent]:
        """What was said since the last call, waiting up to `timeout_s` for the first; returns rather than wait on."""
        until = time.monotonic() + timeout_s
        while not self._heard_all:
            try:
                event = self._events.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            if event is None:
                self._heard_all = True
                self._child.wait()
            elif not self._heard_last:
                # Several ranks may fail at once; the first to say so is heard.
                self._heard_last = isinstance(event, Done | Stopped | Failed | Crashed)
                yield event
            until = 0.0

    def stop(self, grace_s: float) -> None:
        """Ask it to finish the step, save a checkpoint and end; after `grace_s` it is killed.

        What it says meanwhile (`Saved`, `Stopped`) is yielded by `events` afterwards.
        """
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(grace_s)
        self.kill()

    def ask_to_stop(self) -> None:
        """Ask the same, and wait for nothing."""
        if self._child.poll() is None:
            self._child.terminate()

    def kill(self) -> None:
        """End all its processes at once, and wait until none is left. What it said before stays to be heard."""
        # Once it is waited for, its number may be that of somebody else's group.
        if self._child.returncode is None:
            os.killpg(self._child.pid, signal.SIGKILL)
        # The launcher gives each rank a session of its own, which the signal does not reach; the pipe does.
        _close(self._child.stdin)
        self._child.wait()
        # Standard output ends when the last process that holds it does.
        self._reader.join(LEFTOVER_S)

    def _read(self) -> None:
        with self._lines as lines:
            for line in lines:
                if (event := parse(line)) is not None:
                    self._events.put(event)
        self._events.put(None)


def _launcher(config: Path, processes: int) -> list[str]:
    # A configuration of our own, since that of whoever runs the worker (`accelerate config`) would be taken otherwise.
    settings = {
        # That is also how several processes are started on a CPU.
        "distributed_type": "MULTI_GPU",
        "num_processes": processes,
        # Any that is free.
        "main_process_port": 0,
        "mixed_precision": "no",
    }
    config.write_text(json.dumps(settings))
    return ["-m", "accelerate.commands.launch", "--config_file", str(config)]


def _variables(processes: int, threads: int) -> dict[str, str]:
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
    return {
        # A single process that sees several GPUs would spread its batches over them in a way that TRL refuses.
        **({"CUDA_VISIBLE_DEVICES": gpus[0]} if processes == 1 else {}),
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        # The base model is a folder here; nothing else is needed from outside.
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
    }


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None and not pipe.closed:
        pipe.close()
