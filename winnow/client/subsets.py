"""Subsets: the part of a scored dataset worth training on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import httpx
import orjson

from winnow.client.connection import PAUSE_S, Connection, failure, format_of, whole_file
from winnow.client.values import Download, SelectionOptions, SubsetOptions
from winnow.errors import NotReady


class Subsets(Connection):
    """`/subsets`."""

    def subset(self, *, wait: bool = False, **options: Unpack[SubsetOptions]) -> Iterator[bytes]:
        """The bytes of a subset as they arrive, of the newest run unless `run` names one.

            b"".join(client.subset(run="run_...", ratio=0.1))
            b"".join(client.subset(ratio=0.1, strategy="facility_location", wait=True))

        Raises:
            ScoresNotReady: the run is not completed, and `wait` is not set.
            SelectionNotReady: a worker chooses the rows, and `wait` is not set.
        """
        with self._ready("/subsets", options, wait=wait) as response:
            yield from response.iter_bytes()

    def download(
        self, path: Path | str, *, wait: bool = False, **options: Unpack[SubsetOptions]
    ) -> Download:
        """Write a subset to a file, which is there whole or not at all; its suffix decides the format.

            client.download("subset.parquet", run="run_...", ratio=0.1, order="score")

        Raises:
            ScoresNotReady, SelectionNotReady: as `subset`.
        """
        target = Path(path)
        asked: dict[str, Any] = {"format": format_of(target), **options}
        with self._ready("/subsets", asked, wait=wait) as response, whole_file(target) as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
        return Download(
            path=target,
            run=response.headers.get("Winnow-Run", ""),
            num_bytes=target.stat().st_size,
            etag=response.headers.get("ETag", ""),
        )

    def manifest(
        self, *, wait: bool = False, **options: Unpack[SelectionOptions]
    ) -> dict[str, Any]:
        """Where a subset comes from, and how many rows each rule took.

        Raises:
            ScoresNotReady, SelectionNotReady: as `subset`.
        """
        with self._ready("/subsets/manifest", options, wait=wait) as response:
            manifest: dict[str, Any] = orjson.loads(response.read())
        return manifest

    @contextmanager
    def _ready(
        self, path: str, options: Mapping[str, Any], *, wait: bool
    ) -> Iterator[httpx.Response]:
        while True:
            with self._stream(path, options) as response:
                if response.is_success:
                    yield response
                    return
                error = failure(response)
                if not (wait and isinstance(error, NotReady)):
                    raise error
                pause_s = float(response.headers.get("Retry-After", PAUSE_S))
            time.sleep(pause_s)
