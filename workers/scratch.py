"""Folders on the worker's own disk for one piece of work, gone when it ends, whatever happens.

    {root}/{random}/        the folder
    {root}/{random}.lock    held by the process that uses it; the kernel takes it back from one that is killed

So what a killed worker left is known by its free lock, and whoever next needs a folder there removes it.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from filelock import FileLock, Timeout

WAIT_S = 1.0

log = structlog.get_logger()


@contextmanager
def turn(lock_file: Path, *, on_wait: Callable[[], None]) -> Iterator[None]:
    """Alone among the processes of this machine; `on_wait` is called each second until then, and may end the wait."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=WAIT_S)
        except Timeout:
            on_wait()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """An empty folder below `root`, for as long as the block lasts."""
    root.mkdir(parents=True, exist_ok=True)
    remove_abandoned(root)
    folder = root / secrets.token_hex(8)
    lock_file = folder.with_suffix(".lock")
    with FileLock(lock_file):
        folder.mkdir()
        try:
            yield folder
        finally:
            _remove(folder, lock_file)


def remove_abandoned(root: Path) -> None:
    """Remove the folders of processes that are gone."""
    for lock_file in root.glob("*.lock"):
        folder = lock_file.with_suffix("")
        try:
            with FileLock(lock_file, blocking=False):
                removed = _remove(folder, lock_file)
        except Timeout:
            continue
        if removed:
            log.info("abandoned folder removed", folder=str(folder))


def _remove(folder: Path, lock_file: Path) -> bool:
    """Whether nothing is left; if a process that is about to end still wrote into it, it goes the next time."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        return False
    lock_file.unlink(missing_ok=True)
    return True
