"""What the tests of training share."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from winnow.training.events import Crashed, Done, Failed, Stopped, TrainingEvent
from winnow.training.process import TrainingProcess
from winnow.training.stop import StopRequest

MakeJob = Callable[..., Path]

THREADS = 3
"""What a worker with room for three processes has."""


def train_here(folder: Path) -> list[TrainingEvent]:
    """Train in this process, and return all that was said."""
    from winnow.training.train import train

    events: list[TrainingEvent] = []
    events.append(train(folder, say=events.append, stop=StopRequest(), threads=THREADS))
    return events


def losses(folder: Path) -> list[float]:
    """The loss of every step of a finished job."""
    with (folder / "result" / "step_metrics.csv").open() as file:
        return [float(line["train_loss"]) for line in csv.DictReader(file)]


def hear(
    process: TrainingProcess, until: Callable[[TrainingEvent], bool] = lambda _: False
) -> list[TrainingEvent]:
    """Everything that is said up to an event, or to the end."""
    heard: list[TrainingEvent] = []
    while not process.ended:
        for event in process.events(timeout_s=1):
            heard.append(event)
            if until(event):
                return heard
    return heard


def last(events: list[TrainingEvent]) -> Done | Stopped | Failed | Crashed:
    """How it ended."""
    assert isinstance(events[-1], Done | Stopped | Failed | Crashed), events[-1]
    return events[-1]
