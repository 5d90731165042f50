"""Subsets: the part of a scored dataset worth training on."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import httpx

from winnow.client.connection import PAUSE_S, Connection, failure
from winnow.client.values import Download, SubsetOptions
from winnow.errors import ScoresNotReady


class Subsets(Connection):
    """`/subsets`."""

    def subset(self, *, wait: bool = False, **options: Unpack[SubsetOptions]) -> Iterator[bytes]:
        """The bytes of a subset as they arrive, of the newest run unless `run` names one.

            b"".join(client.subset(run="run_...", ratio=0.1))

        Raises:
            ScoresNotReady: the run is not completed, and `wait` is not set.
        """
        with self._ready_subset(wait=wait, options=options) as response:
            yield from response.iter_bytes()

    def download(
        self, path: Path | str, *, wait: bool = False, **options: Unpack[SubsetOptions]
    ) -> Download:
        """Write a subset to a file, which is there whole or not at all; its suffix decides the format.

        client.download("subset.parquet", run="run_...", ratio=0.1, order="score")
        """
        target = Path(path)
        suffix = target.suffix.lower().removeprefix(".")
        asked: dict[str, Any] = {"format": suffix or "jsonl", **options}
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        try:
            with (
                self._ready_subset(wait=wait, options=asked) as response,
                temporary.open("xb") as file,
            ):
                for chunk in response.iter_bytes():
                    file.write(chunk)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return Download(
            path=target,
            run=response.headers.get("Winnow-Run", ""),
            num_bytes=target.stat().st_size,
            etag=response.headers.get("ETag", ""),
        )

    def manifest(self, **options: Unpack[SubsetOptions]) -> dict[str, Any]:
        """Where a subset comes from, and how many rows each rule took."""
        return self._json("GET", "/subsets/manifest", params=options)

    @contextmanager
    def _ready_subset(self, *, wait: bool, options: Mapping[str, Any]) -> Iterator[httpx.Response]:
        while True:
            with self._stream("/subsets", options) as response:
                if response.is_success:
                    yield response
                    return
                error = failure(response)
                if not (wait and isinstance(error, ScoresNotReady)):
                    raise error
                pause_s = float(response.headers.get("Retry-After", PAUSE_S))
            time.sleep(pause_s)
