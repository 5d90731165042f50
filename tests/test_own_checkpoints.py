"""A user's own checkpoints: found by step, their epochs told, and refused where they do not do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from winnow.errors import InvalidOption, ModelNotFound, UnsafeWeights
from winnow.own_checkpoints import own_checkpoints, own_revision
from winnow.spec import RunSpec
from winnow.trajectory import CHECKPOINT_FILE, Checkpoint


def save(folder: Path, *, weights: str = "model.safetensors", **state: float) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / weights).write_bytes(b"")
    if state:
        (folder / "trainer_state.json").write_text(json.dumps(state))


def found(folder: Path, **options: Any) -> list[tuple[int, int | None]]:
    spec = RunSpec.make(**{"method": "s2l", "checkpoints": str(folder)} | options)
    return [(checkpoint.step, checkpoint.epoch) for checkpoint, _ in own_checkpoints(spec)]


def test_steps_and_epochs_are_those_of_the_trainer(tmp_path: Path) -> None:
    for step, epoch in ((100, 1.0), (50, 0.5), (200, 2.0)):
        save(tmp_path / f"checkpoint-{step}", global_step=step, epoch=epoch)
    (tmp_path / "runs").mkdir()
    assert found(tmp_path) == [(50, None), (100, 1), (200, 2)]


def test_names_tell_the_steps_and_the_number_of_epochs_their_ends(tmp_path: Path) -> None:
    for step in (4, 8, 10, 12):
        save(tmp_path / f"step-{step:08d}")
    assert found(tmp_path, n_epochs=3) == [(4, 1), (8, 2), (10, None), (12, 3)]
    assert found(tmp_path, n_epochs=5) == [(4, None), (8, None), (10, None), (12, None)]


def test_they_are_all_points_and_each_has_its_folder(tmp_path: Path) -> None:
    save(tmp_path / "epoch-1")
    save(tmp_path / "epoch-2")
    spec = RunSpec.make(method="learning_percentage", n_epochs=2, checkpoints=str(tmp_path))
    assert own_checkpoints(spec) == [
        (Checkpoint(position=at, step=at, epoch=at, point=True), str(tmp_path / f"epoch-{at}"))
        for at in (1, 2)
    ]


def test_a_missing_end_of_an_epoch_is_named(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint-200", global_step=200, epoch=2.0)
    with pytest.raises(InvalidOption, match="no checkpoint at the end of epoch 1") as refused:
        found(tmp_path, method="learning_percentage")
    assert refused.value.param == "checkpoints"
    assert found(tmp_path) == [(200, 2)]


def test_too_few_epochs_are_told(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint-100", global_step=100, epoch=1.0)
    with pytest.raises(InvalidOption, match="end with epoch 1, and statistic=lp needs epoch 2"):
        found(tmp_path, method="learning_percentage")
    assert found(tmp_path, method="learning_percentage", statistic="approx") == [(100, 1)]


def test_a_folder_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="no folder"):
        found(tmp_path / "absent")
    with pytest.raises(InvalidOption, match="holds 0 checkpoints"):
        found(tmp_path)


def test_a_step_that_cannot_be_told_or_is_there_twice_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "final")
    with pytest.raises(InvalidOption, match="final has no trainer_state"):
        found(tmp_path)
    (tmp_path / "final").rename(tmp_path / "a-5")
    save(tmp_path / "b-5")
    with pytest.raises(InvalidOption, match="both of step 5"):
        found(tmp_path)


@pytest.mark.parametrize(
    ("weights", "error"), [("pytorch_model.bin", UnsafeWeights), ("notes.txt", ModelNotFound)]
)
def test_weights_are_safetensors(tmp_path: Path, weights: str, error: type[Exception]) -> None:
    save(tmp_path / "checkpoint-1", weights=weights)
    with pytest.raises(error):
        found(tmp_path)


@pytest.mark.parametrize(
    "state",
    [
        "{",
        "[]",
        "{}",
        '{"global_step": null}',
        '{"global_step": 1, "epoch": "x"}',
        '{"global_step": 1, "epoch": "inf"}',
        '{"global_step": 1, "epoch": 1e999}',
    ],
)
def test_a_damaged_state_is_refused(tmp_path: Path, state: str) -> None:
    save(tmp_path / "checkpoint-1")
    (tmp_path / "checkpoint-1" / "trainer_state.json").write_text(state)
    with pytest.raises(InvalidOption, match=r"trainer_state\.json of checkpoint-1") as refused:
        found(tmp_path)
    assert refused.value.param == "checkpoints"


def test_weights_that_were_kept_say_what_they_are(tmp_path: Path) -> None:
    for step, epoch, point in ((10, 1, False), (15, None, True), (20, 2, True)):
        save(tmp_path / f"{step:08d}-3f9a01bc")
        told = {"position": 1, "step": step, "epoch": epoch, "point": point}
        (tmp_path / f"{step:08d}-3f9a01bc" / CHECKPOINT_FILE).write_text(json.dumps(told))
    assert found(tmp_path, n_epochs=3) == [(10, 1), (15, None), (20, 2)]
    own = own_checkpoints(RunSpec.make(method="s2l", checkpoints=str(tmp_path)))
    assert [checkpoint.point for checkpoint, _ in own] == [False, True, True]


def test_ends_of_epochs_that_nothing_tells_are_asked_for(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint-50")
    with pytest.raises(InvalidOption, match="n_epochs=3 does not divide the last step, 50"):
        found(tmp_path, method="learning_percentage")


@pytest.mark.parametrize(
    ("epochs", "given", "refused"),
    [
        ([1.0, 2.0], 2, False),
        ([1.0, 2.0], 3, True),
        ([1.0, 2.0], 1, True),
        ([1.0, 2.0, 2.5], 3, False),
        ([1.0, 2.0, 2.5], 2, True),
        ([None, None], 2, False),
    ],
)
def test_epochs_that_are_told_are_not_contradicted(
    tmp_path: Path, epochs: list[float | None], given: int, refused: bool
) -> None:
    for step, epoch in enumerate(epochs, start=1):
        folder = tmp_path / f"checkpoint-{step}"
        if epoch is None:
            save(folder)
        else:
            save(folder, global_step=step, epoch=epoch)
    spec = RunSpec.make(method="s2l", n_epochs=given, checkpoints=str(tmp_path))
    if refused:
        with pytest.raises(InvalidOption, match=f"so n_epochs is not {given}") as error:
            own_checkpoints(spec, given_epochs=given)
        assert error.value.param == "n_epochs"
    else:
        assert len(own_checkpoints(spec, given_epochs=given)) == len(epochs)
    assert len(own_checkpoints(spec)) == len(epochs)


def test_a_folder_that_is_still_being_moved_here_is_none_of_them(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint-1")
    save(tmp_path / ".checkpoint-2.part")
    assert found(tmp_path) == [(1, None)]


def test_the_revision_is_of_the_files_and_of_which_step_they_are(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path / f"checkpoint-{step}")

    def revision() -> str:
        return own_revision(own_checkpoints(RunSpec.make(method="s2l", checkpoints=str(tmp_path))))

    first = revision()
    (tmp_path / "checkpoint-2" / "notes.txt").write_text("no part of a model")
    assert revision() == first
    (tmp_path / "checkpoint-2" / "model.safetensors").write_bytes(b"other weights")
    second = revision()
    assert second != first
    (tmp_path / "checkpoint-1").rename(tmp_path / "spare")
    (tmp_path / "checkpoint-2").rename(tmp_path / "checkpoint-1")
    (tmp_path / "spare").rename(tmp_path / "checkpoint-2")
    assert revision() not in {first, second}


def test_a_step_beyond_all_bounds_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint-20240131123456")
    with pytest.raises(InvalidOption, match="Steps are from 1 to"):
        found(tmp_path)
