"""Model files on this machine, by the name of the model; those of a fine-tuned one are fetched and merged first.

A name that begins with `ft:` is looked up in the database and its result in the blob store. An adapter is merged into
its base, so that every engine can load what comes out. The folders are kept, the last few that were used.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import structlog
from filelock import FileLock, Timeout

from winnow.errors import DependencyMissing, EngineError, ModelNotFound, RevisionMismatch
from winnow.proxy.models import checked, resolve, revision
from winnow.store.blobs import Blobs
from winnow.store.fine_tunes import FineTune, load_model
from winnow.store.session import Database
from winnow.training.names import is_fine_tuned
from workers.scratch import scratch, turn
from workers.transfer import OnPiece, download, nothing

KEEP = 4
"""Fetched models that are kept on this disk."""

MERGED = "merged/"
ADAPTER = frozenset({"adapter_config.json", "adapter_model.safetensors"})

MERGE_S = 30 * 60.0
LISTEN_S = 0.5

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """Finds or makes the folder of a model; fetched ones are below `root`, which workers of a machine may share."""

    database: Database
    blobs: Blobs
    root: Path

    def folder(self, name: str, *, on_piece: OnPiece = nothing) -> Path:
        """The folder of the model's files.

        `on_piece` is called while they are fetched, here or by another process, and may end that.

        Raises:
            ModelError: there is no such model here, its files were deleted, or it is an adapter of other files.
            NotFound: no job made a model of this name.
            DependencyMissing: an adapter is to be merged, and what that takes is not installed.
        """
        if not is_fine_tuned(name):
            return resolve(name)
        with self.database.transaction() as connection:
            job = load_model(connection, name)
        folder = self.root / job.id
        with turn(_lock_of(folder), on_wait=on_piece):
            if not folder.is_dir():
                self._fetch(job, folder, on_piece)
            os.utime(folder)
        self._remove_old(folder)
        return checked(folder)

    def _fetch(self, job: FineTune, folder: Path, on_piece: OnPiece) -> None:
        log.info("fine-tuned model is fetched", model=job.fine_tuned_model)
        names = self.blobs.find(job.result or "")
        merged = [name for name in names if name.startswith(MERGED)]
        # What training has merged may be coarser than float32, and scores with it.
        is_adapter = set(names) >= ADAPTER and (not merged or find_spec("peft") is not None)
        wanted = merged
        if is_adapter or not merged:
            wanted = [name for name in names if not name.endswith(".zip") and name not in merged]
        with scratch(self.root.parent / "jobs") as room:
            fetched, made = room / "result", room / "model"
            for name in wanted:
                blob = f"{job.result}/{name}"
                target = fetched / name.removeprefix(MERGED)
                download(self.blobs, blob, target, on_piece=on_piece)
            if is_adapter:
                _merge(self._base(job, on_piece), fetched, made, on_piece)
            else:
                made = fetched
            shutil.move(_whole(made, job), folder)

    def _base(self, job: FineTune, on_piece: OnPiece) -> Path:
        base = self.folder(job.spec.model, on_piece=on_piece)
        if revision(base) != (job.metrics or {}).get("base_revision"):
            raise RevisionMismatch(
                f"{job.fine_tuned_model} is an adapter of other files than {job.spec.model} has on this worker. Give "
                "every worker the files that it was trained on, or fine-tune again.",
                param="model",
            )
        return base

    def _remove_old(self, used: Path) -> None:
        folders = [path for path in self.root.iterdir() if path.is_dir() and path != used]
        folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for folder in folders[KEEP - 1 :]:
            try:
                with FileLock(_lock_of(folder), blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
            except Timeout:  # it is being fetched
                continue


def _whole(made: Path, job: FineTune) -> Path:
    try:
        return checked(made)
    except ModelNotFound as error:
        raise ModelNotFound(
            f"Files of {job.fine_tuned_model} were deleted; fine-tune it again.", param="model"
        ) from error


def _merge(base: Path, adapter: Path, out: Path, on_piece: OnPiece) -> None:
    """In a process of its own: its libraries are many, and its memory goes back. It ends with this one."""
    if find_spec("peft") is None:
        raise DependencyMissing(
            "To score with an adapter a worker needs peft: pip install 'winnow[train]', or fine-tune with merge."
        )
    command = [sys.executable, "-P", "-m", "winnow.training.merge"]
    said = out.with_suffix(".log")
    with (
        said.open("wb") as output,
        subprocess.Popen(  # noqa: S603  # our own module
            [*command, str(base), str(adapter), str(out)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        ) as merging,
    ):
        try:
            exit_code = _wait(merging, on_piece)
        except BaseException:
            merging.kill()
            raise
    if exit_code != 0:
        log.error("merge failed", exit_code=exit_code, said=said.read_text(errors="replace"))
        raise EngineError(
            f"The adapter could not be merged into its base (exit code {exit_code}). That takes memory for the base in "
            "float32: give the worker more, or see its log."
        )


def _wait(merging: subprocess.Popen[bytes], on_piece: OnPiece) -> int:
    until = time.monotonic() + MERGE_S
    while time.monotonic() < until:
        try:
            return merging.wait(LISTEN_S)
        except subprocess.TimeoutExpired:
            on_piece()
    raise EngineError(
        f"Merging the adapter into its base took more than {MERGE_S / 60:.0f} minutes. Give the worker more cores."
    )


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
