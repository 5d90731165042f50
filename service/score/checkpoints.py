"""Checkpoints that a user trained elsewhere, in a folder of this machine: only below those that the operator names.

The gateway looks at names and small files, and hashes the weights once, so that a folder whose files were changed is
another trajectory. Workers load them, and must see the folder under its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from winnow.errors import InvalidOption, ModelError
from winnow.own_checkpoints import own_checkpoints, own_revision
from winnow.settings import Settings
from winnow.spec import RunSpec
from winnow.store.trajectory_use import OwnCheckpoint


def find_checkpoints(
    spec: RunSpec, settings: Settings, *, given_epochs: int | None
) -> tuple[RunSpec, Sequence[OwnCheckpoint]]:
    """The run bound to what lies in the folder that it names, and that; nothing for a run that names none.

    Bound are the whole name of the folder, its revision, and how many epochs its checkpoints tell; `given_epochs` is
    what the user said of that.

    Raises:
        InvalidOption: the folder is not one that may be named, or what it holds is of no use to the run.
        ModelError: a checkpoint is no model in safetensors.
    """
    if spec.trajectory is None or spec.trajectory.checkpoints is None:
        return spec, ()
    given = spec.trajectory.checkpoints
    folder = _allowed(given, settings.checkpoints)
    named = replace(spec, trajectory=replace(spec.trajectory, checkpoints=str(folder)))
    try:
        own = own_checkpoints(named, given_epochs=given_epochs)
    except (InvalidOption, ModelError) as error:
        # Whoever named a folder by its last part does not learn where the operator keeps it.
        told = error.message.replace(str(folder), given)
        raise type(error)(told, param=error.param) from error
    told_epochs = max((one.epoch for one, _ in own if one.epoch is not None), default=None)
    bound = replace(
        spec.trajectory,
        checkpoints=str(folder),
        checkpoints_revision=own_revision(own),
        n_epochs=given_epochs or told_epochs or spec.trajectory.n_epochs,
    )
    return replace(spec, trajectory=bound), own


def _allowed(given: str, roots: Sequence[Path]) -> Path:
    for root in roots:
        folder = _below(root, given)
        if folder is not None:
            return folder
    raise InvalidOption(
        f"There is no folder {given!r} below those that may be named here. An operator names them in "
        "WINNOW_CHECKPOINTS, where the gateway and the workers see the same files.",
        param="checkpoints",
    )


def _below(root: Path, given: str) -> Path | None:
    """The folder, given whole or from `root` on; links and dots are followed before it is compared."""
    try:
        folder = (root / given).resolve(strict=True)
        return folder if folder.is_dir() and folder.is_relative_to(root.resolve()) else None
    except (OSError, RuntimeError, ValueError):  # not there, links in a circle, no name of a file
        return None
