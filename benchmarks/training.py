"""The training subprocess beside a plain TRL script: tokens a second and peak memory, alternated, with equal losses.

Both train the same LoRA of winnow-mini on the same rows with the same seed, on one thread, and save as often. The time
of both is that from the beginning of the first step to the log of the last. Exits with 1 where Winnow's speed is more
than 5 % below.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.datasets import write_jsonl
from benchmarks.report import Figure, table
from winnow.proxy import models
from winnow.records.example import Example, Turn
from winnow.training.events import Prepared, Step
from winnow.training.job import RESULT, TRAIN_FILE, TrainingJob, write_examples
from winnow.training.process import TrainingProcess
from winnow.training.spec import FineTuneSpec

BATCH, EPOCHS = 16, 2
KIB = 1024
SLOWEST = 0.95
"""The share of the plain script's speed that is asked for."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training from start to end; `peak_mib` is resident memory."""

    tokens_per_s: float
    peak_mib: float
    losses: list[float]
    learning_rate: float = 0.0


@dataclass
class PeakMemory:
    """The resident memory that a process had at most, read from the kernel while it lives."""

    pid: int
    mib: float = 0.0
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(0.1):
            try:
                status = Path(f"/proc/{self.pid}/status").read_text()
            except OSError:
                return
            high = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
            self.mib = max([self.mib, *(int(kib) / KIB for kib in high)])


def measure(rows: int, rounds: int) -> list[Figure]:
    """Every figure of this benchmark."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        records = _records(Path(folder) / "rows.jsonl", rows)
        ours: list[Run] = []
        plain: list[Run] = []
        for number in range(rounds):
            ours.append(_ours(Path(folder) / f"ours-{number}", records))
            plain.append(_plain(Path(folder) / f"plain-{number}", records, ours[-1].learning_rate))
    apart = max(abs(a - b) for a, b in zip(ours[0].losses, plain[0].losses, strict=True))
    return [
        _beside("fine-tuning, LoRA of winnow-mini", "tokens_per_s", "tokens/s", ours, plain),
        _beside("the same: peak memory of the process", "peak_mib", "MiB", ours, plain),
        Figure(what="the same: losses of a step differ at most by", value=apart, unit="nats"),
    ]


def _beside(what: str, name: str, unit: str, ours: list[Run], plain: list[Run]) -> Figure:
    value, baseline = (
        statistics.median(getattr(run, name) for run in runs) for runs in (ours, plain)
    )
    return Figure(
        what=what, value=value, unit=unit, baseline="plain TRL script", baseline_value=baseline
    )


def _records(path: Path, rows: int) -> list[dict[str, str]]:
    write_jsonl(path, rows=rows)
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [{"prompt": f"{r['instruction']}\n", "completion": r["output"]} for r in records]


def _ours(folder: Path, records: list[dict[str, str]]) -> Run:
    spec = FineTuneSpec.make(template="plain", batch_size=BATCH, n_epochs=EPOCHS)
    base = models.resolve(spec.model)
    TrainingJob(spec=spec, base_folder=base, name="benchmark").write(folder)
    write_examples(folder / TRAIN_FILE, (_example(row, r) for row, r in enumerate(records)))
    heard: list[Any] = []
    with (
        TrainingProcess.start(folder, processes=1, threads=1) as training,
        PeakMemory(training.pid) as peak,
    ):
        while not training.ended:
            heard += training.events(timeout_s=1)
    steps = (folder / RESULT / "step_metrics.csv").read_text().splitlines()[1:]
    return Run(
        tokens_per_s=next(
            event for event in reversed(heard) if isinstance(event, Step)
        ).tokens_per_s,
        peak_mib=peak.mib,
        losses=[float(line.split(",")[1]) for line in steps],
        learning_rate=next(
            event.hyperparameters["learning_rate"] for event in heard if isinstance(event, Prepared)
        ),
    )


def _example(row: int, record: dict[str, str]) -> Example:
    prompt = Turn(role="user", content=record["prompt"].removesuffix("\n"))
    return Example(row=row, turns=(prompt, Turn(role="assistant", content=record["completion"])))


def _plain(folder: Path, records: list[dict[str, str]], learning_rate: float) -> Run:
    folder.mkdir()
    rows = folder / "rows.jsonl"
    rows.write_text("\n".join(json.dumps(record) for record in records))
    places = [str(models.resolve("winnow-mini")), str(rows), str(folder / "out")]
    numbers = [str(BATCH), str(EPOCHS), str(learning_rate)]
    command = [sys.executable, "-m", "benchmarks.plain_sft", *places, *numbers]
    with (folder / "log.txt").open("wb") as log:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    with PeakMemory(child.pid) as peak:
        said, _ = child.communicate()
    assert child.returncode == 0, (folder / "log.txt").read_text()
    return Run(peak_mib=peak.mib, **json.loads(said))


def main() -> int:
    """Measure and print; the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=160)
    arguments.add_argument("--rounds", type=int, default=2)
    given = arguments.parse_args()
    figures = measure(given.rows, given.rounds)
    print(table(figures))
    ours, plain = figures[0].value, figures[0].baseline_value
    assert plain is not None
    return int(ours < SLOWEST * plain)


if __name__ == "__main__":
    sys.exit(main())
