"""Files between the worker's disk and the blob store, piece by piece, so that what moves them can be stopped."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from winnow.store.blobs import Blobs

PIECE_BYTES = 4 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)

OnPiece = Callable[[], None]
"""Called after each piece; what it raises ends the transfer, and the file that was under way never appears."""


def nothing() -> None:
    """After a piece: for those who hold no lease, and whom nobody can stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What was written under `blob`."""

    blob: str
    size_bytes: int
    sha256: str


def files_below(folder: Path) -> list[str]:
    """Names of the files below a folder, with `/` between its parts, in order."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def upload(blobs: Blobs, source: Path, blob: str, *, on_piece: OnPiece) -> Stored:
    """Store a file.

    Raises:
        FileNotFoundError: it is gone.
    """
    with source.open("rb") as file, blobs.write(blob) as out:
        target = _Counted(out)
        _copy(file, target, on_piece)
    return target.stored(blob)


def upload_archive(
    blobs: Blobs, folder: Path, names: Sequence[str], blob: str, *, on_piece: OnPiece
) -> Stored:
    """Store these files of a folder as one zip; weights do not shrink, so nothing is compressed."""
    with blobs.write(blob) as out:
        target = _Counted(out)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for name in names:
                # The same files make the same archive, whenever it is written.
                entry = zipfile.ZipInfo(name, date_time=_EPOCH)
                entry.external_attr = 0o644 << 16
                with (
                    (folder / name).open("rb") as file,
                    archive.open(entry, "w", force_zip64=True) as member,
                ):
                    _copy(file, member, on_piece)
    return target.stored(blob)


def download(blobs: Blobs, blob: str, target: Path, *, on_piece: OnPiece) -> None:
    """Fetch a file.

    Raises:
        FileNotFoundError: there is none.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with blobs.open_read(blob) as file, target.open("wb") as out:
        _copy(file, out, on_piece)


def download_folder(blobs: Blobs, blob_folder: str, target: Path, *, on_piece: OnPiece) -> None:
    """Fetch every file below a blob folder.

    Raises:
        FileNotFoundError: there is none, or one is removed meanwhile.
    """
    names = blobs.find(blob_folder)
    if not names:
        raise FileNotFoundError(blob_folder)
    for name in names:
        download(blobs, f"{blob_folder}/{name}", target / name, on_piece=on_piece)


class _Counted:
    """Counts and hashes what passes. It cannot seek, so a zip is written from its beginning to its end."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self._size += len(data)
        return self._out.write(data)

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        """Nothing: whoever opened what is written to closes it."""

    def stored(self, blob: str) -> Stored:
        """What was written, under the name it got."""
        return Stored(blob=blob, size_bytes=self._size, sha256=self._hash.hexdigest())


class _Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


def _copy(source: BinaryIO, target: _Writable, on_piece: OnPiece) -> None:
    while piece := source.read(PIECE_BYTES):
        target.write(piece)
        on_piece()
