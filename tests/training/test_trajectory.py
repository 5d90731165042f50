"""A job that keeps checkpoints: which, what is in them, and that it is otherwise the job it would be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.training.conftest import TINY
from tests.training.jobs import MakeJob, last, losses, mean_loss, train_here
from winnow.errors import InvalidOption, NonFiniteLoss
from winnow.records.example import Example
from winnow.spec import RunSpec
from winnow.training import alive, reporting
from winnow.training.events import (
    Alive,
    Done,
    Kept,
    Prepared,
    Saved,
    Step,
    Stopped,
    TrainingEvent,
)
from winnow.training.job import checkpoints
from winnow.training.reporting import Reporter
from winnow.training.spec import FineTuneSpec
from winnow.training.stop import StopRequest
from winnow.training.train import train
from winnow.trajectory import planned

pytestmark = pytest.mark.filterwarnings("default")

OPTIONS: dict[str, Any] = {"adapter": "none", "learning_rate": 1e-3}


@pytest.fixture(autouse=True)
def every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step and every sign of life is said, and TRL does not report its use to its makers."""
    monkeypatch.setattr(reporting, "SAY_EVERY_S", 0)
    monkeypatch.setattr(alive, "ALIVE_EVERY_S", 0)
    monkeypatch.setenv("CI", "1")


@pytest.fixture(scope="module")
def trajectory(make_job: MakeJob) -> tuple[Path, list[TrainingEvent]]:
    """A finished trajectory of two epochs and four points, and what it said."""
    folder = make_job(points=4, **OPTIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reporting, "SAY_EVERY_S", 0)
        patch.setenv("CI", "1")
        return folder, train_here(folder)


def said(events: list[TrainingEvent], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_keeping_checkpoints_changes_no_step(
    trajectory: tuple[Path, list[TrainingEvent]], make_job: MakeJob
) -> None:
    folder, events = trajectory
    ordinary = make_job(**OPTIONS)
    train_here(ordinary)
    assert [step.loss for step in said(events, Step)] == losses(ordinary)
    kept = load_file(folder / said(events, Kept)[-1].folder / "model.safetensors")
    result = load_file(ordinary / "result" / "model.safetensors")
    assert kept.keys() == result.keys()
    assert all(kept[name].equal(result[name]) for name in kept)


def test_what_is_planned_is_kept_and_said_before_the_checkpoint_to_resume_from(
    trajectory: tuple[Path, list[TrainingEvent]],
) -> None:
    folder, events = trajectory
    plan = [(one.step, one.epoch, one.point) for one in planned(22, 2, 4) if one.step]
    assert [(kept.step, kept.epoch, kept.point) for kept in said(events, Kept)] == plan
    assert [step for step, _, _ in plan] == [6, 11, 16, 22]
    order = [event.step for event in events if isinstance(event, Kept | Saved)]
    assert order == sorted(order)
    at_the_end = [event for event in events if isinstance(event, Kept | Saved)][-2:]
    assert [type(event) for event in at_the_end] == [Kept, Saved]
    done = last(events)
    assert isinstance(done, Done)
    assert done.metrics["steps"] == 22
    assert done.metrics["last_loss"] < done.metrics["first_loss"]
    assert not (folder / "result").exists()


def test_each_kept_model_loads_by_itself_and_the_loss_of_the_rows_falls_from_one_to_the_next(
    trajectory: tuple[Path, list[TrainingEvent]], examples: list[Example]
) -> None:
    folder, events = trajectory
    models = [TINY, *(folder / kept.folder for kept in said(events, Kept))]
    curve = [mean_loss(model, examples) for model in models]
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] < curve[0] - 0.1
    texts = [path.read_text() for model in models[1:] for path in model.glob("*.json")]
    assert not [text for text in texts if str(folder) in text or str(TINY) in text]


def test_what_was_read_and_deleted_leaves_two_checkpoints_and_nothing_that_grows(
    make_job: MakeJob,
) -> None:
    folder = make_job(points=4, **OPTIONS)
    there_before = {path.name for path in folder.iterdir()}
    most = {"checkpoints": 0, "kept": 0}

    def read(event: TrainingEvent) -> None:
        for name, so_far in most.items():
            most[name] = max(so_far, len(list((folder / name).glob("*"))))
        if isinstance(event, Kept):
            shutil.rmtree(folder / event.folder)

    train(folder, say=read, stop=StopRequest(), threads=1)
    assert most == {"checkpoints": 2, "kept": 1}
    left = {path.name for path in folder.iterdir()} - there_before
    assert left == {"train.arrow", "checkpoints", "kept"}
    assert not list((folder / "kept").iterdir())


def stop_after(step: int, stop: StopRequest, heard: list[TrainingEvent]) -> Callable[..., None]:
    def say(event: TrainingEvent) -> None:
        heard.append(event)
        stop.asked = stop.asked or (isinstance(event, Step) and event.step == step)

    return say


def test_what_nobody_has_read_is_said_again_and_what_was_lost_is_kept_anew(
    make_job: MakeJob, trajectory: tuple[Path, list[TrainingEvent]]
) -> None:
    folder, stop = make_job(points=4, **OPTIONS), StopRequest()
    end = train(folder, say=stop_after(11, stop, []), stop=stop, threads=1)
    assert end == Stopped(step=12)
    assert [path.name for path in sorted((folder / "kept").iterdir())] == [
        "step-00000006",
        "step-00000011",
    ]
    # Read is one of them; of two that came after the checkpoint, one was not written to its end.
    shutil.rmtree(folder / "kept" / "step-00000006")
    for name in ("step-00000016", "step-00000022.part"):
        (folder / "kept" / name).mkdir()
    events = train_here(folder)
    assert [kept.step for kept in said(events, Kept)] == [11, 16, 22]
    whole = load_file(trajectory[0] / "kept" / "step-00000022" / "model.safetensors")
    resumed = load_file(folder / "kept" / "step-00000022" / "model.safetensors")
    assert all(whole[name].equal(resumed[name]) for name in whole)


def test_a_rate_that_is_chosen_trains_as_if_it_were_given_and_is_not_chosen_twice(
    make_job: MakeJob,
) -> None:
    options = {"adapter": "none", "points": 2, "rows": 20, "n_epochs": 1}
    folder, stop, heard = make_job(learning_rate="auto", **options), StopRequest(), []
    train(folder, say=stop_after(2, stop, heard), stop=stop, threads=1)
    resumed = train_here(folder)
    prepared = said(heard, Prepared)[0]
    rate = prepared.hyperparameters["learning_rate"]
    choice = prepared.hyperparameters["rate_choice"]
    assert choice["tried"][-1]["learning_rate"] == rate
    assert "learning_rate" in {event.phase for event in said(heard, Alive)}
    assert "learning_rate" not in {event.phase for event in said(resumed, Alive)}
    assert said(resumed, Prepared)[0].hyperparameters == prepared.hyperparameters
    done = last(resumed)
    assert isinstance(done, Done)
    json.dumps(done.metrics)
    given = train_here(make_job(learning_rate=rate, **options))
    assert "rate_choice" not in said(given, Prepared)[0].hyperparameters
    steps = {event.step: event.loss for event in [*heard, *resumed] if isinstance(event, Step)}
    assert list(steps.values()) == [step.loss for step in said(given, Step)]


def test_weights_that_are_no_numbers_are_not_kept_and_the_rate_is_named(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = Reporter.on_step_end

    def spoil(self: Reporter, *args: Any, model: Any, **options: Any) -> None:
        decide(self, *args, **options)
        next(model.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(Reporter, "on_step_end", spoil)
    folder = make_job(rows=4, n_epochs=1, points=1, **OPTIONS)
    with pytest.raises(NonFiniteLoss, match=r"Lower learning_rate\.") as caught:
        train_here(folder)
    assert caught.value.param == "learning_rate"
    assert not (folder / "kept").exists()
    assert not checkpoints(folder)


def test_the_window_of_a_small_model_cuts_a_trajectory(make_job: MakeJob) -> None:
    events = train_here(make_job(rows=4, n_epochs=1, points=1, max_length=512, **OPTIONS))
    assert said(events, Prepared)[0].hyperparameters["max_length"] == 128


def test_a_run_says_how_its_trajectory_is_trained() -> None:
    run = RunSpec.make(
        method="s2l", points=7, n_epochs=2, learning_rate=1e-4, seed=3, dtype="bfloat16"
    )
    spec = FineTuneSpec.of_trajectory(run)
    assert (spec.points, spec.n_epochs, spec.learning_rate, spec.seed) == (7, 2, 1e-4, 3)
    assert (spec.adapter, spec.template, spec.max_length, spec.dtype) == (
        *("none", "alpaca"),
        *(512, "auto"),
    )


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"points": 3}, "points"),
        ({"learning_rate": "auto"}, "learning_rate"),
        ({"learning_rate": 1e-3, "learning_rate_multiplier": 2.0}, "learning_rate"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"points": 101, "adapter": "none"}, "points"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidOption) as caught:
        FineTuneSpec.make(**options)
    assert caught.value.param == param
