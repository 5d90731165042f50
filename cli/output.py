"""Files that a command writes: the suffix decides the format, and a file is there whole or not at all."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from winnow.errors import InvalidOption

STDOUT = Path("-")


def format_of(path: Path, allowed: tuple[str, ...], *, param: str) -> str:
    """The format that the suffix of `path` names; standard output (`-`) is JSON lines.

    Raises:
        InvalidOption: the suffix is none of `allowed`.
    """
    name = "jsonl" if path == STDOUT else path.suffix.lower().removeprefix(".")
    if name not in allowed:
        suffixes = ", ".join(f".{each}" for each in allowed)
        raise InvalidOption(
            f"{param} {str(path)!r}: the suffix names the format; use {suffixes}.", param=param
        )
    return name


def check_writable(path: Path, *, inputs: tuple[Path, ...], param: str) -> None:
    """Refuse a place that could not be written, before the work that would be lost there.

    Raises:
        InvalidOption: no such folder, no permission, or the file is an input of the same command.
    """
    if path == STDOUT:
        return
    folder = path.resolve().parent
    if not folder.is_dir():
        raise InvalidOption(f"{param} {str(path)!r}: there is no folder {folder}.", param=param)
    if path.is_dir():
        raise InvalidOption(f"{param} {str(path)!r} is a folder; name a file.", param=param)
    if not os.access(path if _is_device(path) else folder, os.W_OK):
        raise InvalidOption(f"{param} {str(path)!r}: no permission to write there.", param=param)
    if path.resolve() in {each.resolve() for each in inputs}:
        raise InvalidOption(
            f"{param} {str(path)!r} is the input; name another file, so that it is kept.",
            param=param,
        )


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the name `path` when the block ends, and leaves nothing behind when it fails."""
    if path == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if _is_device(path):
        # Putting a file in the place of /dev/null would be the end of /dev/null.
        with path.open("wb") as device:
            yield device
        return
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()
