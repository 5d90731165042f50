"""Starts `winnow` as a user does, in a process of its own, and ends it whatever happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil

TINY = Path(__file__).parents[1] / "golden" / "tiny-gpt2"
ROOT = Path(__file__).parents[2]
START_S = 120.0
STOP_S = 30.0

T = TypeVar("T")


class Winnow:
    """A running command; what it says on either stream is in `log`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def url(self) -> str:
        """The address, once the gateway answers."""
        pattern = re.compile(r"Winnow is ready at (http://[\d.]+:\d+)")

        def ready() -> str | None:
            assert self.process.poll() is None, self.log
            found = pattern.search(self.log)
            return found and found[1]

        return until(ready, timeout_s=START_S)

    def worker(self) -> psutil.Process | None:
        """The child of `winnow serve` that scores; another one trains."""
        children = psutil.Process(self.process.pid).children()
        return next((child for child in children if "io,score" in child.cmdline()), None)


@contextmanager
def running(
    *arguments: str | Path, env: Mapping[str, str], log: Path, cwd: Path
) -> Iterator[Winnow]:
    """`winnow ARGUMENTS` while the context lasts; SIGTERM must end it in time."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli", *map(str, arguments)],
            env=environment(env),
            cwd=cwd,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield Winnow(process, log)
        process.terminate()
        process.wait(STOP_S)
    finally:
        process.kill()
        process.wait()


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Ours without settings of any installation, one thread a process, and what is given."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("WINNOW_")}
    return own | {"OMP_NUM_THREADS": "1", "WINNOW_THREADS": "1"} | given


def command(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end; standard output."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cli", *map(str, arguments)],
        cwd=cwd,
        env=environment(env or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def until(probe: Callable[[], T | None], *, timeout_s: float = 60.0) -> T:
    """What `probe` returns once it is not None; fails when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while (found := probe()) is None:
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain"
        time.sleep(0.1)
    return found


def processes_naming(text: str | Path) -> list[psutil.Process]:
    """Processes whose command line or folder names something: what a service may have left behind."""
    found = []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), process.cwd()]
        except psutil.Error:
            continue
        if any(str(text) in each for each in told) and process.pid != os.getpid():
            found.append(process)
    return found
