"""Train a trajectory from a program that has no worker: the checkpoints as they come, one after the other.

    for kept in train_trajectory(folder, examples, spec=spec, base_folder=base_folder, threads=2):
        ...                                         # read folder / kept.folder
        shutil.rmtree(folder / kept.folder)

Training goes on while a checkpoint is read. No model framework is imported; the training subprocess does that.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

from winnow import errors
from winnow.errors import TrainingDied, WinnowError
from winnow.records.example import Example
from winnow.spec import RunSpec
from winnow.training.events import Crashed, Done, Failed, Kept, TrainingEvent
from winnow.training.job import LOG_FILE, TRAIN_FILE, TrainingJob, write_examples
from winnow.training.process import TrainingProcess
from winnow.training.spec import FineTuneSpec

LISTEN_S = 1.0


def train_trajectory(
    folder: Path,
    examples: Iterable[Example],
    *,
    spec: RunSpec,
    base_folder: Path,
    threads: int,
    on_event: Callable[[TrainingEvent], None] = lambda _: None,
) -> Generator[Kept]:
    """Fine-tune the model of `base_folder` on the examples as `spec.trajectory` says; what it keeps, as it comes.

    `folder` is made if need be. One in which the same training was broken off is gone on with from its newest
    checkpoint: only what was kept after that, or was not deleted, comes again. `on_event` hears everything that is
    said. Leaving the generator early ends the training.

    Raises:
        WinnowError: training cannot go on; the message says what to change.
        TrainingDied: it was killed, or broke off.
    """
    job = TrainingJob(
        spec=FineTuneSpec.of_trajectory(spec), base_folder=base_folder, name="trajectory"
    )
    job.write(folder)
    write_examples(folder / TRAIN_FILE, examples)
    with TrainingProcess.start(folder, threads=threads) as training:
        while not training.ended:
            for event in training.events(timeout_s=LISTEN_S):
                on_event(event)
                if isinstance(event, Kept):
                    yield event
                elif isinstance(event, Done):
                    return
                elif isinstance(event, Failed):
                    raise _failure(event)
                elif isinstance(event, Crashed):
                    raise TrainingDied(
                        f"Training broke off ({event.message}). {_last_words(folder)}"
                    )
        raise TrainingDied(f"{_how(training.returncode)} {_last_words(folder)}")


def _failure(event: Failed) -> WinnowError:
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]
    kind = next(
        (one for one in kinds if issubclass(one, WinnowError) and one.code == event.code),
        WinnowError,
    )
    return kind(event.message, param=event.param)


def _how(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return f"The training process ended with exit code {returncode}."
    ended = f"The training process was ended by {signal.Signals(-returncode).name}."
    return f"{ended} If this machine ran out of memory, lower max_length, or use a smaller model."


def _last_words(folder: Path) -> str:
    lines = (folder / LOG_FILE).read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"Its last words: {last}"
