"""How a dataset looks over HTTP."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field

from winnow.records.example import Rejection, RejectionReason
from winnow.store.datasets import Dataset, DatasetStatus
from winnow.store.values import ErrorInfo


class ErrorView(BaseModel):
    """Why something failed."""

    code: str = Field(examples=["no_usable_rows"])
    message: str

    @classmethod
    def of(cls, error: ErrorInfo | None) -> Self | None:
        """The view of an error that was stored, if there is one."""
        return None if error is None else cls(code=error.code, message=error.message)


class DatasetView(BaseModel):
    """A dataset. Counts and the detected `format` are null until it is read; times are unix seconds."""

    id: str = Field(examples=["ds_mfrggzdfmztwq2lknnwg23tp"])
    object: Literal["dataset"] = "dataset"
    name: str | None = Field(examples=["alpaca.jsonl"])
    sha256: str
    size_bytes: int
    requested_format: str = Field(examples=["auto"])
    format: str | None = Field(examples=["jsonl+gzip"])
    status: DatasetStatus
    rows_read: int | None
    rows_usable: int | None
    rows_rejected: int | None
    error: ErrorView | None
    created_at: int
    links: dict[str, str]

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """The view of a stored dataset."""
        path = f"/datasets/{dataset.id}"
        return cls(
            id=dataset.id,
            name=dataset.name,
            sha256=dataset.sha256,
            size_bytes=dataset.size_bytes,
            requested_format=dataset.requested_format,
            format=dataset.format,
            status=dataset.status,
            rows_read=dataset.rows_read,
            rows_usable=dataset.rows_usable,
            rows_rejected=dataset.rows_rejected,
            error=ErrorView.of(dataset.error),
            created_at=int(dataset.created_at),
            links={"self": path, "rejections": f"{path}/rejections"},
        )


class RejectionView(BaseModel):
    """A row that is no example; `detail` names the line, the field and what to change."""

    row: int
    reason: RejectionReason
    detail: str

    @classmethod
    def of(cls, rejection: Rejection) -> Self:
        """The view of a stored rejection."""
        return cls(row=rejection.row, reason=rejection.reason, detail=rejection.detail)
