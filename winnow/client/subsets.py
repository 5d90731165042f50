"""Subsets: the part of a scored dataset worth training on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Unpack

import httpx
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.client.connection import (
    PAUSE_S,
    WAIT_S,
    Connection,
    deadline_of,
    failure,
    format_of,
    whole_file,
)
from winnow.client.tables import to_dataset, to_pandas
from winnow.client.values import Download, SelectionOptions, SubsetOptions
from winnow.errors import NotReady

if TYPE_CHECKING:
    import datasets
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Subset:
    """Rows that are asked for whenever they are read; iterating gives the bytes of the format that was named."""

    _ask: Callable[[Mapping[str, Any]], AbstractContextManager[httpx.Response]]
    _options: SubsetOptions

    def __iter__(self) -> Iterator[bytes]:
        """The bytes as they arrive."""
        with self._ask(self._options) as response:
            yield from response.iter_bytes()

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table, of the types that they were posted with if they were posted as a table."""
        asked: dict[str, Any] = {**self._options, "format": "parquet"}
        with self._ask(asked) as response, TemporaryFile() as file:
            file.writelines(response.iter_bytes())
            return pq.read_table(file)

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame; with `include="scores"` these are columns `winnow_NAME`.

        Raises:
            DependencyMissing: pandas is not installed.
        """
        return to_pandas(self.to_arrow())

    def to_dataset(self) -> datasets.Dataset:
        """The rows as a Hugging Face `Dataset`; with `include="scores"` these are the feature `winnow`.

        Raises:
            DependencyMissing: `datasets` is not installed.
        """
        return to_dataset(self.to_arrow())


class Subsets(Connection):
    """`/subsets`."""

    def subset(
        self,
        *,
        wait: bool = False,
        timeout_s: float | None = WAIT_S,
        **options: Unpack[SubsetOptions],
    ) -> Subset:
        """A subset, of the newest run unless `run` names one: iterate for its bytes, or ask for a table.

            b"".join(client.subset(run="run_...", ratio=0.1))
            client.subset(ratio=0.1, include="scores").to_pandas()
            client.subset(ratio=0.1, strategy="facility_location", wait=True).to_dataset()

        It is asked for as it is read; with `wait` until it is there, for at most `timeout_s` (None: for ever).

        Raises:
            ScoresNotReady: the run is not completed, and `wait` is not set.
            SelectionNotReady: a worker chooses the rows, and `wait` is not set.
            TimeoutError: it was waited for in vain; the message says what for.
        """
        return Subset(partial(self._ready, "/subsets", wait=wait, timeout_s=timeout_s), options)

    def download(
        self,
        path: Path | str,
        *,
        wait: bool = False,
        timeout_s: float | None = WAIT_S,
        **options: Unpack[SubsetOptions],
    ) -> Download:
        """Write a subset to a file, which is there whole or not at all; its suffix decides the format.

            client.download("subset.parquet", run="run_...", ratio=0.1, order="score")

        Raises:
            ScoresNotReady, SelectionNotReady, TimeoutError: as `subset`.
        """
        target = Path(path)
        asked: dict[str, Any] = {"format": format_of(target), **options}
        with (
            self._ready("/subsets", asked, wait=wait, timeout_s=timeout_s) as response,
            whole_file(target) as file,
        ):
            for chunk in response.iter_bytes():
                file.write(chunk)
        return Download(
            path=target,
            run=response.headers.get("Winnow-Run", ""),
            num_bytes=target.stat().st_size,
            etag=response.headers.get("ETag", ""),
        )

    def manifest(
        self,
        *,
        wait: bool = False,
        timeout_s: float | None = WAIT_S,
        **options: Unpack[SelectionOptions],
    ) -> dict[str, Any]:
        """Where a subset comes from, and how many rows each rule took.

        Raises:
            ScoresNotReady, SelectionNotReady, TimeoutError: as `subset`.
        """
        path = "/subsets/manifest"
        with self._ready(path, options, wait=wait, timeout_s=timeout_s) as response:
            manifest: dict[str, Any] = orjson.loads(response.read())
        return manifest

    @contextmanager
    def _ready(
        self, path: str, options: Mapping[str, Any], *, wait: bool, timeout_s: float | None
    ) -> Iterator[httpx.Response]:
        deadline = deadline_of(timeout_s)
        while True:
            with self._stream(path, options) as response:
                if response.is_success:
                    yield response
                    return
                error = failure(response)
                if not (wait and isinstance(error, NotReady)):
                    raise error
                pause_s = float(response.headers.get("Retry-After", PAUSE_S))
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"the subset is not there after {timeout_s:g} s (timeout_s): {error.message}"
                ) from error
            time.sleep(pause_s)
