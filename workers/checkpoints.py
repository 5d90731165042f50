"""Checkpoints of a trajectory as models of this machine: fetched for the engine that loads them, and one of them kept.

A checkpoint is a model of the name `traj_...@3`, whose weights lie in the blob store, or in a folder of the user's own.
At position 0 it is the proxy before training, which has a name already.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from winnow.spec import RunSpec
from winnow.store.blobs import Blobs
from winnow.store.session import Database
from winnow.store.trajectories import (
    KeptCheckpoint,
    Trajectory,
    load_checkpoints,
    load_trajectory,
)
from winnow.store.trajectory_progress import NAME_JOINT, checkpoint_name
from workers.scratch import scratch, turn
from workers.transfer import OnPiece, download_folder, nothing

_NAME = re.compile(rf"(?P<trajectory>traj_[a-z0-9]+){NAME_JOINT}(?P<position>\d+)")

log = structlog.get_logger()


def is_checkpoint(model: str) -> bool:
    """Whether a model's name is that of a checkpoint."""
    return _NAME.fullmatch(model) is not None


def spec_at(trajectory: Trajectory, position: int) -> RunSpec:
    """What to load and how, to evaluate a trajectory at a checkpoint."""
    if position == 0:
        return trajectory.spec
    return replace(trajectory.spec, model=checkpoint_name(trajectory.id, position))


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """Fetches weights to `{root}/{name}`; the workers of a machine share them, and take turns."""

    database: Database
    blobs: Blobs
    root: Path

    @contextmanager
    def fetched(self, name: str, *, on_piece: OnPiece = nothing) -> Iterator[Path]:
        """The folder of a checkpoint, which stays while the block lasts. Any other one goes away.

        `on_piece` is called while it is fetched, and while another process fetches one; it may end that.

        Raises:
            FileNotFoundError: its weights were removed, since somebody has evaluated it.
        """
        found = _NAME.fullmatch(name)
        assert found is not None, name  # noqa: S101  # the caller has asked `is_checkpoint`
        with self.database.transaction() as connection:
            trajectory = load_trajectory(connection, found["trajectory"])
            kept = load_checkpoints(connection, trajectory.id)[int(found["position"])]
        if kept.folder is None:
            raise FileNotFoundError(name)
        if trajectory.training is None:
            yield Path(kept.folder)
            return
        folder = self.root / name
        with turn(self._lock, on_wait=on_piece):
            self.root.mkdir(exist_ok=True)
            self._remove([other for other in self.root.iterdir() if other != folder])
            if not folder.is_dir():
                self._fetch(kept, folder, on_piece)
            yield folder

    def remove(self, name: str) -> None:
        """Remove what is here of a checkpoint, or of a whole trajectory; of anything else nothing is."""
        mine = [path for path in self.root.glob("*") if name in _whose(path.name)]
        if mine:
            with turn(self._lock, on_wait=nothing):
                self._remove(mine)

    @property
    def _lock(self) -> Path:
        return self.root.with_suffix(".lock")

    def _fetch(self, kept: KeptCheckpoint, folder: Path, on_piece: OnPiece) -> None:
        log.info("checkpoint is fetched", model=folder.name, step=kept.step)
        with scratch(self.root.parent / "jobs") as room:
            target = room / "model"
            download_folder(self.blobs, kept.folder or "", target, on_piece=on_piece)
            shutil.move(target, folder)

    @staticmethod
    def _remove(folders: list[Path]) -> None:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _whose(name: str) -> tuple[str, str]:
    """A checkpoint's name, and the id of its trajectory."""
    return name, name.partition(NAME_JOINT)[0]
