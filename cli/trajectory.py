"""A trajectory on this machine: a subprocess fine-tunes the proxy, and its checkpoints are evaluated as they come.

Not covered: options (`cli.score`), and what the losses say of a row (`winnow.trajectory`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from cli.local import Rows
from cli.progress import LINE_EVERY_S, duration, row_progress
from cli.report import say
from winnow.errors import DependencyMissing, InvalidOption
from winnow.evaluation import evaluate_blocks
from winnow.own_checkpoints import own_checkpoints
from winnow.proxy.engine import Engine
from winnow.proxy.models import resolve
from winnow.records.example import Example
from winnow.spec import RunSpec
from winnow.training.events import Alive, Prepared, Step, TrainingEvent
from winnow.training.local import train_trajectory
from winnow.trajectory import BEFORE_TRAINING, Checkpoint, TrajectoryLosses

Weights = Generator[tuple[Checkpoint, Path]]


def check_trajectory(spec: RunSpec, keep: Path | None, *, given_epochs: int | None) -> None:
    """Refuse what would fail after long work; `given_epochs` is the `n_epochs` of the command, if it has one.

    Raises:
        DependencyMissing: training is not installed here.
        InvalidOption: the user's own checkpoints cannot be used, or `keep` is no new folder.
    """
    if spec.trajectory is None:
        return
    if spec.trajectory.checkpoints is not None:
        own_checkpoints(spec, given_epochs=given_epochs)
    elif find_spec("trl") is None:
        raise DependencyMissing(
            f"method={spec.method} fine-tunes the proxy: pip install 'winnow[train]', or name --checkpoints."
        )
    if keep is not None and keep.exists():
        raise InvalidOption(f"{keep} is there already; name a new folder.", param="keep_weights")


def shared_cores(spec: RunSpec, cores: int) -> tuple[int, int]:
    """Threads for training, and for evaluating checkpoints while it goes on: the cores shared out, at least one each.

    Both with all cores would be slower than one after the other: threads that wait for each other within an operation
    do so in a loop. Where nothing is trained, evaluation has all cores.
    """
    if _has_own(spec):
        return 0, cores
    evaluation = max(1, cores // 2)
    return max(1, cores - evaluation), evaluation


def trajectory_losses(
    rows: Rows,
    *,
    engine: Engine,
    load: Callable[[Path], Engine],
    spec: RunSpec,
    threads: int,
    keep: Path | None,
) -> Iterator[TrajectoryLosses]:
    """The losses of each block of rows, with progress; weights are moved to the folder `keep`, or removed once read.

    `engine` holds the proxy before training, and `load` makes one of a folder of weights; `threads` are for training.

    Raises:
        WinnowError: training cannot go on, or a checkpoint cannot be used; the message says what to change.
        TrainingDied: training was killed, or broke off.
    """
    weights = _own(spec) if _has_own(spec) else _trained(rows, spec, threads, keep)
    checkpoints = [BEFORE_TRAINING]
    tables = [_evaluated(rows, engine, spec, "before training")]
    with closing(weights):
        for checkpoint, folder in weights:
            checkpoints.append(checkpoint)
            tables.append(_evaluated(rows, load(folder), spec, f"step {checkpoint.step}"))
    for of_block in zip(*tables, strict=True):
        yield TrajectoryLosses.join(checkpoints, of_block)


def _evaluated(rows: Rows, engine: Engine, spec: RunSpec, when: str) -> list[pa.RecordBatch]:
    with row_progress(f"evaluating {when}") as advance:
        return list(
            evaluate_blocks(
                map(rows.outcomes, range(rows.num_blocks)),
                engine=engine,
                spec=spec,
                on_rows=lambda done: advance(done, rows.num_rows),
            )
        )


def _has_own(spec: RunSpec) -> bool:
    return spec.trajectory is not None and spec.trajectory.checkpoints is not None


def _own(spec: RunSpec) -> Weights:
    for checkpoint, folder in own_checkpoints(spec):
        yield checkpoint, Path(folder)


def _trained(rows: Rows, spec: RunSpec, threads: int, keep: Path | None) -> Weights:
    with TemporaryDirectory(prefix="winnow-") as temporary:
        training = train_trajectory(
            Path(temporary),
            _examples(rows),
            spec=spec,
            base_folder=resolve(spec.model),
            threads=threads,
            on_event=_Told(),
        )
        with closing(training):
            for position, kept in enumerate(training, start=1):
                folder = Path(temporary) / kept.folder
                checkpoint = Checkpoint(
                    position=position, step=kept.step, epoch=kept.epoch, point=kept.point
                )
                yield checkpoint, folder
                if keep is None:
                    shutil.rmtree(folder)
                else:
                    _move(folder, keep)


def _move(folder: Path, keep: Path) -> None:
    """Under its name it is there whole: to another disk a folder is copied file by file."""
    keep.mkdir(parents=True, exist_ok=True)
    moving = keep / f".{folder.name}.part"
    shutil.move(folder, moving)
    moving.replace(keep / folder.name)


def _examples(rows: Rows) -> Iterator[Example]:
    for block in range(rows.num_blocks):
        yield from (row for row in rows.outcomes(block) if isinstance(row, Example))


class _Told:
    """Says what training does: its plan, and now and then how far it is."""

    def __init__(self) -> None:
        self._said = float("-inf")
        self._tries = False

    def __call__(self, event: TrainingEvent) -> None:
        now = time.monotonic()
        if isinstance(event, Alive) and event.phase == "learning_rate" and not self._tries:
            self._tries = True
            say("trying learning rates")
        elif isinstance(event, Prepared):
            chosen = event.hyperparameters
            say(
                f"training on {event.rows_used:,} rows: {event.total_steps:,} steps of {chosen['batch_size']} rows, "
                f"learning rate {chosen['learning_rate']:g}"
            )
        elif isinstance(event, Step) and now - self._said >= LINE_EVERY_S:
            self._said = now
            say(
                f"step {event.step:,} of {event.total_steps:,}  loss {event.loss:.4f}  "
                f"{event.tokens_per_s:,.0f} tokens/s  {duration(event.eta_s)} left"
            )
