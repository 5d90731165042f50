"""Datasets: bytes that were posted, once per owner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Unpack

from winnow.client.connection import Connection
from winnow.client.values import DATASET, Data, Dataset, UploadOptions


class Datasets(Connection):
    """`/datasets`."""

    def add_dataset(self, data: Data, **options: Unpack[UploadOptions]) -> Dataset:
        """Put a dataset in without scoring it; the same bytes are one dataset."""
        return DATASET.validate_python(self._upload("/datasets", data, options))

    def dataset(self, dataset_id: str) -> Dataset:
        """One dataset."""
        return DATASET.validate_python(self._json("GET", f"/datasets/{dataset_id}"))

    def datasets(self) -> Iterator[Dataset]:
        """Your datasets, the newest first."""
        return (DATASET.validate_python(item) for item in self._pages("/datasets", key="id"))

    def rejections(self, dataset_id: str) -> Iterator[dict[str, Any]]:
        """The rows that are no example: `row`, `reason`, and `detail` with line, field and remedy."""
        return self._pages(f"/datasets/{dataset_id}/rejections", key="row")

    def delete_dataset(self, dataset_id: str) -> None:
        """Take a dataset away: its runs are cancelled, its rows and files purged."""
        self._json("DELETE", f"/datasets/{dataset_id}")
