"""Files, on a disk or in a bucket, through fsspec. Paths are relative to the root: `datasets/{id}/upload`.

A file appears under its name complete or not at all: it is written under a temporary name first, and then put in place.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

import fsspec
from fsspec import AbstractFileSystem


class Blobs:
    """A blob store: `file:///folder` or `s3://bucket/prefix`, with options of the fsspec file system."""

    def __init__(self, url: str, **storage_options: Any) -> None:
        self.url = url
        self.fs: AbstractFileSystem
        self.root: str
        # fsspec takes the path of a file URL as it stands, but a URL writes a space as %20.
        plain = unquote(url) if url.startswith("file:") else url
        self.fs, root = fsspec.core.url_to_fs(plain, **storage_options)
        self.root = root.rstrip("/")

    def open_read(self, path: str) -> BinaryIO:
        """The file, for reading from its beginning.

        Raises:
            FileNotFoundError: there is none.
        """
        return cast("BinaryIO", self.fs.open(self._at(path), "rb"))

    @contextmanager
    def write(self, path: str) -> Iterator[BinaryIO]:
        """A file to write; it stands under `path` once the block ends, and never if the block raises."""
        final = self._at(path)
        temporary = f"{final}.{uuid.uuid4().hex}.part"
        self.fs.makedirs(final.rpartition("/")[0], exist_ok=True)
        try:
            with self.fs.open(temporary, "wb") as file:
                yield cast("BinaryIO", file)
            self.fs.mv(temporary, final)
        except BaseException:
            self._discard(temporary)
            raise

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        self.fs.invalidate_cache()
        return bool(self.fs.isfile(self._at(path)))

    def size(self, path: str) -> int:
        """Bytes of a file.

        Raises:
            FileNotFoundError: there is none.
        """
        self.fs.invalidate_cache()
        return int(self.fs.size(self._at(path)))

    def delete_tree(self, path: str) -> None:
        """Delete a folder and everything in it, or nothing if there is none."""
        folder = self._at(path)
        self.fs.invalidate_cache()
        if self.fs.exists(folder):
            self.fs.rm(folder, recursive=True)

    def names(self, path: str) -> list[str]:
        """What lies directly in a folder; nothing if there is none."""
        folder = self._at(path)
        self.fs.invalidate_cache()
        if not self.fs.isdir(folder):
            return []
        return sorted(str(found).rpartition("/")[2] for found in self.fs.ls(folder, detail=False))

    def find(self, path: str) -> list[str]:
        """Every file below a folder, by its path from there, in order; nothing if there is no such folder."""
        self.fs.invalidate_cache()
        root = f"{self._at(path)}/"
        return sorted(str(found).removeprefix(root) for found in self.fs.find(root))

    def folder(self, path: str) -> tuple[AbstractFileSystem, str]:
        """The file system, and `path` inside it: what block readers and writers take."""
        return self.fs, self._at(path)

    def _at(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _discard(self, temporary: str) -> None:
        if self.fs.exists(temporary):
            self.fs.rm(temporary)
