"""What the tests of training share."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from winnow.records.example import Example
from winnow.training.encode import EncodedCompletion, encode_completion
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


def mean_loss(model: Path, examples: list[Example]) -> float:
    """The mean loss of the examples' learned tokens, as the engine that scores finds it in a model's folder."""
    from winnow.proxy.torch_engine import TorchEngine

    engine = TorchEngine(model, threads=1)
    outcomes = encode_completion(examples, engine.tokenizer, template="plain", window=engine.window)
    rows = [row for row in outcomes if isinstance(row, EncodedCompletion)]
    spans = [span for row in rows for sequence in row.sequences for span in sequence.spans]
    losses = engine.losses(spans, on_batch=lambda _: None, on_replan=lambda _: None)
    return sum(loss.nll for loss in losses) / sum(loss.num_tokens for loss in losses)
