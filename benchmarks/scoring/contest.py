"""Contestants side by side: one process each, one of them at work at a time, in another order every time.

Every process is started and warmed up before any is timed. What is timed is a whole pass, from text to losses. An order
is a seeded shuffle, so that no contestant always follows the one that heats the machine.

A contestant whose number format the processor only emulates is there for its fidelity: it scores a part of the rows,
once. A contestant that cannot start is left out, with its reason.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.scoring.worker import Kind, Pass
from winnow.spec import Dtype

ROOT = Path(__file__).parents[2]
SEED = 13
REFERENCE_WARM_ROWS = 4
"""Nothing of the published procedure is compiled or packed: a few rows make it warm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One way of scoring. `emulated`: the processor has no instructions for its number format."""

    label: str
    kind: Kind
    dtype: Dtype
    python: Path = Path(sys.executable)
    emulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What all contestants of a contest share."""

    model: Path
    rows: Path
    num_rows: int
    num_emulated_rows: int
    device: str
    threads: int
    token_budget: int

    def rows_of(self, contestant: Contestant) -> list[int]:
        """The rows that a contestant scores: all, or so many at even distances."""
        count = self.num_emulated_rows if contestant.emulated else self.num_rows
        return [part * self.num_rows // count for part in range(count)]


@dataclass(kw_only=True)
class Measured:
    """What was measured of a contestant. `first` is its first pass over all rows, None where it was not taken."""

    contestant: Contestant
    ready_s: float
    first: Pass | None
    passes: list[Pass] = field(default_factory=list)


def contest(
    contestants: Sequence[Contestant], setup: Setup, *, repeats: int
) -> tuple[list[Measured], list[str]]:
    """Measure the contestants; also says who was left out, and why."""
    left_out: list[str] = []
    entrants: list[tuple[_Process, Measured]] = []
    with ExitStack() as stack:
        for contestant in contestants:
            try:
                process = stack.enter_context(_started(contestant, setup))
                entrants.append((process, _warm(process)))
            except _WorkerDied as error:
                left_out.append(f"{contestant.label}: {error}")
        order = random.Random(SEED)
        for repeat in range(repeats):
            for process, measured in order.sample(entrants, len(entrants)):
                if repeat == 0 or not process.contestant.emulated:
                    measured.passes.append(process.score(setup.rows_of(process.contestant)))
                    _say(f"repeat {repeat + 1}: {measured.passes[-1].seconds:.1f} s", process)
    return [measured for _, measured in entrants], left_out


def _warm(process: _Process) -> Measured:
    contestant, rows = process.contestant, process.setup.rows_of(process.contestant)
    first = None
    if contestant.kind in {"published", "padded"}:
        process.score(rows[:REFERENCE_WARM_ROWS])
    elif contestant.kind != "ceiling" and not contestant.emulated:
        first = process.score(rows)
    _say(f"ready after {process.ready_s:.1f} s", process)
    return Measured(contestant=contestant, ready_s=process.ready_s, first=first)


def _say(what: str, process: _Process) -> None:
    print(f"{process.contestant.label}: {what}", file=sys.stderr, flush=True)


class _WorkerDied(RuntimeError):
    """A contestant's process ended before it was told to; the message is the last line that it printed."""


@contextmanager
def _started(contestant: Contestant, setup: Setup) -> Iterator[_Process]:
    """A contestant's process that can score; it ends with the context."""
    log = setup.rows.with_name(f"{contestant.kind}-{contestant.dtype}.log")
    command: list[object] = [
        *(contestant.python, "-m", "benchmarks.scoring.worker", contestant.kind),
        *("--model", setup.model, "--rows", setup.rows),
        *("--dtype", contestant.dtype, "--device", setup.device),
        *("--threads", setup.threads, "--token-budget", setup.token_budget),
    ]
    before = time.perf_counter()
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(setup.threads)},
        ) as popen,
    ):
        process = _Process(contestant, setup, popen, log)
        try:
            process.hear()
            process.ready_s = time.perf_counter() - before
            yield process
        finally:
            popen.terminate()


@dataclass
class _Process:
    """The process of a contestant, and the file that has what it printed."""

    contestant: Contestant
    setup: Setup
    popen: subprocess.Popen[bytes]
    log: Path
    ready_s: float = 0.0

    def score(self, rows: Sequence[int]) -> Pass:
        """Have these rows scored."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps(rows).encode() + b"\n")
        self.popen.stdin.flush()
        return Pass(**self.hear())

    def hear(self) -> dict[str, Any]:
        """What it answers."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line:
            self.popen.wait()
            said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise _WorkerDied(said[-1] if said else f"exit {self.popen.returncode}")
        answer: dict[str, Any] = json.loads(line)
        return answer
