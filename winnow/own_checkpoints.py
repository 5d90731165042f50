"""Checkpoints that a user trained, found in a folder: each a folder of it, in safetensors, with its tokenizer.

    step     that of checkpoint.json, which Winnow writes beside the weights that it keeps; else `global_step` in
             trainer_state.json, as the trainer of Hugging Face writes it; else the last number of the name:
             checkpoint-500, step-00000012, epoch-3
    epoch    `epoch` in these files where it is whole. Where no checkpoint tells one, `n_epochs` divides the last step,
             and the checkpoints at those steps are the ends of epochs

Where they tell epochs, an `n_epochs` that the user gives says nothing new, and has to be the number that had begun with
the last of them: 3 for epochs 1, 2 and 2.5.

All of them are points of S2L, but for those of which checkpoint.json says otherwise. The model before training is not
among them: it is the run's model.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import orjson

from winnow.errors import InvalidOption, ModelError
from winnow.proxy.models import checked, revision
from winnow.spec import RunSpec
from winnow.trajectory import BEFORE_TRAINING, CHECKPOINT_FILE, Checkpoint, check_epochs

MOST_CHECKPOINTS = 500
MAX_STEP = 2**31 - 1
WHOLE = 1e-6
"""An epoch this near to a whole number is at its end."""

_LAST_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True, slots=True)
class _Found:
    folder: Path
    step: int
    epoch: float | None
    point: bool = True


def own_checkpoints(
    spec: RunSpec, *, given_epochs: int | None = None
) -> list[tuple[Checkpoint, str]]:
    """The checkpoints in the folder that a run names, by step, each with its own folder.

    `given_epochs` is the user's own `n_epochs`, None where the run has its default.

    Raises:
        InvalidOption: there is no such folder, it holds none or too many, a step is there twice or cannot be told, they
            tell another number of epochs than the user, or the run needs ends of epochs that are missing.
        ModelError: one of them is no model in safetensors.
    """
    if spec.trajectory is None or spec.trajectory.checkpoints is None:
        raise ValueError("the run names no checkpoints")
    found = _found(Path(spec.trajectory.checkpoints))
    _check_given(given_epochs, found)
    ends = _ends(found, spec.trajectory.n_epochs)
    if not ends and spec.method == "learning_percentage":
        raise _refused(
            f"No checkpoint is known to end an epoch, and n_epochs={spec.trajectory.n_epochs} does not divide the last "
            f"step, {found[-1].step}. Give the n_epochs that they were trained for, or use method=s2l."
        )
    own = [
        (
            Checkpoint(position=position, step=one.step, epoch=ends.get(one.step), point=one.point),
            str(one.folder),
        )
        for position, one in enumerate(found, start=1)
    ]
    check_epochs([BEFORE_TRAINING, *(checkpoint for checkpoint, _ in own)], spec)
    return own


def own_revision(own: Sequence[tuple[Checkpoint, str]]) -> str:
    """Hash of everything in the checkpoints' folders that decides a loss, and of which step each folder is.

    Their files are read once, until one is written again.
    """
    total = hashlib.sha256()
    for checkpoint, folder in own:
        total.update(f"{checkpoint.step} {revision(Path(folder))}\n".encode())
    return total.hexdigest()[:16]


def _check_given(given_epochs: int | None, found: Sequence[_Found]) -> None:
    told = [(one.epoch, one.folder.name) for one in found if one.epoch is not None]
    if given_epochs is None or not told:
        return
    epoch, name = max(told)
    if math.ceil(epoch - WHOLE) != given_epochs:
        raise InvalidOption(
            f"{name}, the last of the checkpoints, says that it is of epoch {epoch:g}, so n_epochs is not "
            f"{given_epochs}. Leave n_epochs out.",
            param="n_epochs",
        )


def _found(folder: Path) -> list[_Found]:
    if not folder.is_dir():
        raise _refused(f"There is no folder {str(folder)!r} here.")
    folders = [
        path
        for path in folder.iterdir()
        if (path / "config.json").is_file() and not path.name.startswith(".")
    ]
    if not 1 <= len(folders) <= MOST_CHECKPOINTS:
        raise _refused(
            f"{str(folder)!r} holds {len(folders)} checkpoints. Name a folder of 1 to {MOST_CHECKPOINTS}, each a "
            "folder with a config.json."
        )
    found = sorted((_read(path) for path in folders), key=lambda one: one.step)
    if not 0 < found[0].step <= found[-1].step <= MAX_STEP:
        raise _refused(
            f"Steps are from 1 to {MAX_STEP}; those of {folder.name} go from {found[0].step} to {found[-1].step}."
        )
    for one, following in pairwise(found):
        if one.step == following.step:
            raise _refused(
                f"{one.folder.name} and {following.folder.name} are both of step {one.step}."
            )
    return found


def _read(folder: Path) -> _Found:
    try:
        checked(folder)
    except ModelError as error:
        raise type(error)(error.message, param="checkpoints") from error
    for name, steps in ((CHECKPOINT_FILE, "step"), ("trainer_state.json", "global_step")):
        if (folder / name).is_file():
            return _stated(folder, name, steps)
    number = _LAST_NUMBER.search(folder.name)
    if number is None or not int(number[1]):
        raise _refused(
            f"{folder.name} has no trainer_state.json, and its name no number that could be its step."
        )
    return _Found(folder, int(number[1]), None)


def _stated(folder: Path, name: str, steps: str) -> _Found:
    try:
        values = orjson.loads((folder / name).read_bytes())
        epoch = values.get("epoch")
        step, point = int(values[steps]), bool(values.get("point", True))
        # A number in JSON is finite; "inf" and "nan" are texts, which nothing can be added to.
        found = _Found(folder, step, None if epoch is None else epoch + 0.0, point)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise _refused(
            f"The {name} of {folder.name} cannot be read ({type(error).__name__}). Mend it, or take it away and name "
            "the folder by its step."
        ) from error
    return found


def _ends(found: list[_Found], n_epochs: int) -> dict[int, int]:
    """The epoch that ends at each step that is the end of one."""
    told = {one.step: one.epoch for one in found if one.epoch is not None}
    if told:
        return {
            step: round(epoch) for step, epoch in told.items() if abs(epoch - round(epoch)) < WHOLE
        }
    last = found[-1].step
    if last % n_epochs:
        return {}
    return {last // n_epochs * epoch: epoch for epoch in range(1, n_epochs + 1)}


def _refused(message: str) -> InvalidOption:
    return InvalidOption(message, param="checkpoints")
