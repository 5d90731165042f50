"""A trajectory trained without a worker: what comes, what is raised, and going on after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.training.conftest import TINY
from tests.training.jobs import MakeJob, mean_loss, train_here
from winnow.errors import InvalidOption, TrainingDied
from winnow.records.example import Example
from winnow.spec import RunSpec
from winnow.training.events import Kept, Prepared, Step, TrainingEvent
from winnow.training.local import train_trajectory

STEPS = [11, 22, 33, 44, 55, 66, 77, 88]


def train(folder: Path, examples: list[Example], **options: Any) -> Generator[Kept]:
    """Eight epochs in batches of four, unless the options say otherwise; each epoch's end is a point."""
    chosen: dict[str, Any] = {
        "method": "s2l",
        "template": "plain",
        "n_epochs": 8,
        "points": 8,
        "batch_size": 4,
        "learning_rate": 1e-3,
    }
    on_event = options.pop("on_event", lambda _: None)
    spec = RunSpec.make(**chosen | options)
    return train_trajectory(
        folder, examples, spec=spec, base_folder=TINY, threads=1, on_event=on_event
    )


def training_process() -> psutil.Process:
    children = psutil.Process().children()
    (training,) = [one for one in children if "winnow.training.main" in one.cmdline()]
    return training


@pytest.mark.filterwarnings("default")
def test_killed_after_some_checkpoints_and_started_again_the_rest_comes(
    examples: list[Example], make_job: MakeJob, tmp_path: Path
) -> None:
    read: list[int] = []

    def read_and_kill() -> None:
        for kept in train(tmp_path, examples):
            read.append(kept.step)
            shutil.rmtree(tmp_path / kept.folder)
            if len(read) == 3:
                training_process().kill()

    with pytest.raises(TrainingDied, match="SIGKILL"):
        read_and_kill()
    assert len(read) < len(STEPS)

    events: list[TrainingEvent] = []
    rest = list(train(tmp_path, examples, on_event=events.append))
    assert sorted({*read, *(kept.step for kept in rest)}) == STEPS
    assert all(kept.point and kept.epoch == kept.step // 11 for kept in rest)
    (prepared,) = [event for event in events if isinstance(event, Prepared)]
    assert 0 < prepared.resumed_from < STEPS[-1]
    steps = [event for event in events if isinstance(event, Step)]
    assert steps[-1].step == STEPS[-1]
    undisturbed = make_job(adapter="none", n_epochs=8, points=1, learning_rate=1e-3)
    train_here(undisturbed)
    assert mean_loss(tmp_path / rest[-1].folder, examples) == pytest.approx(
        mean_loss(undisturbed / rest[-1].folder, examples), abs=1e-3
    )


def test_leaving_early_ends_the_training(examples: list[Example], tmp_path: Path) -> None:
    training = train(tmp_path, examples, n_epochs=50)
    next(training)
    child = training_process()
    training.close()
    assert not child.is_running()


def test_why_training_cannot_go_on_is_raised_as_what_it_is(
    examples: list[Example], tmp_path: Path
) -> None:
    with pytest.raises(InvalidOption, match="template=plain") as caught:
        list(train(tmp_path, examples, template="chat"))
    assert caught.value.param == "template"


def test_an_error_that_nobody_foresaw_is_told_with_the_last_words(
    examples: list[Example], tmp_path: Path
) -> None:
    def spoil(event: TrainingEvent) -> None:
        if isinstance(event, Prepared):
            shutil.rmtree(tmp_path / "checkpoints", ignore_errors=True)
            (tmp_path / "checkpoints").write_text("in the way")

    with pytest.raises(TrainingDied, match=r"Training broke off .* Its last words: "):
        list(train(tmp_path, examples, on_event=spoil))
