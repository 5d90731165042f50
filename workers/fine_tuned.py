"""Model files on this machine, by the name of the model; those of a fine-tuned one are fetched and merged first.

A name that begins with `ft:` is looked up in the database and its result in the blob store. An adapter is merged into
its base, so that every engine can load what comes out. The folders are kept, the last few that were used.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import structlog
from filelock import FileLock, Timeout

from winnow.errors import DependencyMissing, EngineError, ModelNotFound
from winnow.proxy.models import checked, resolve
from winnow.store.blobs import Blobs
from winnow.store.fine_tunes import FineTune, load_model
from winnow.store.session import Database
from winnow.training.names import is_fine_tuned
from workers.scratch import scratch
from workers.transfer import download

KEEP = 4
"""Fetched models that are kept on this disk."""

MERGED = "merged/"

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """Finds or makes the folder of a model; fetched ones are below `root`, which workers of a machine may share."""

    database: Database
    blobs: Blobs
    root: Path

    def folder(self, name: str) -> Path:
        """The folder of the model's files.

        Raises:
            ModelError: there is no such model here, or its files were deleted.
            NotFound: no job made a model of this name.
            DependencyMissing: an adapter is to be merged, and what that takes is not installed.
        """
        if not is_fine_tuned(name):
            return resolve(name)
        with self.database.transaction() as connection:
            job = load_model(connection, name)
        folder = self.root / job.id
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(_lock_of(folder)):
            if not folder.is_dir():
                self._fetch(job, folder)
            os.utime(folder)
        self._remove_old(folder)
        return checked(folder)

    def _fetch(self, job: FineTune, folder: Path) -> None:
        log.info("fine-tuned model is fetched", model=job.fine_tuned_model)
        base = self.folder(job.spec.model)
        names = self.blobs.find(job.result or "")
        merged = [name for name in names if name.startswith(MERGED)]
        wanted = merged or [name for name in names if not name.endswith(".zip")]
        with scratch(self.root.parent / "jobs") as room:
            fetched, made = room / "result", room / "model"
            for name in wanted:
                blob = f"{job.result}/{name}"
                target = fetched / name.removeprefix(MERGED)
                download(self.blobs, blob, target, on_piece=_go_on)
            if (fetched / "adapter_config.json").is_file():
                _merge(base, fetched, made)
            elif (fetched / "config.json").is_file():
                made = fetched
            else:
                raise ModelNotFound(
                    f"Files of {job.fine_tuned_model} were deleted; fine-tune it again.",
                    param="model",
                )
            shutil.move(made, folder)

    def _remove_old(self, used: Path) -> None:
        folders = [path for path in self.root.iterdir() if path.is_dir() and path != used]
        folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for folder in folders[KEEP - 1 :]:
            try:
                with FileLock(_lock_of(folder), blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
            except Timeout:  # it is being fetched
                continue


def _merge(base: Path, adapter: Path, out: Path) -> None:
    """In a process of its own: its libraries are many, and its memory goes back."""
    if find_spec("peft") is None:
        raise DependencyMissing(
            "To score with an adapter a worker needs peft: pip install 'winnow[train]', or fine-tune with merge."
        )
    command = [sys.executable, "-P", "-m", "winnow.training.merge"]
    merging = subprocess.run(  # noqa: S603  # our own module
        [*command, str(base), str(adapter), str(out)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if merging.returncode != 0:
        said = merging.stderr.strip().splitlines() or [f"exit code {merging.returncode}"]
        raise EngineError(f"The adapter could not be merged into its base: {said[-1]}")


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _go_on() -> None:
    """A model that is fetched is of use to whoever asks next, so nothing ends its transfer."""
