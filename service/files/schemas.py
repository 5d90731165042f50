"""How a file looks over HTTP, in OpenAI's shape."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from service.uploads import MAX_NAME
from winnow.store.files import File


class FileOptions(BaseModel):
    """What comes along with an uploaded file."""

    model_config = ConfigDict(extra="forbid")

    purpose: Literal["fine-tune"] | None = Field(
        None, description="What the file is for; it must be said."
    )
    filename: str | None = Field(
        None, max_length=MAX_NAME, description="Default: that of the multipart field `file`."
    )


class FileView(BaseModel):
    """A file; `created_at` in unix seconds."""

    id: str = Field(examples=["file-mfrggzdfmztwq2lknnwg23tp"])
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str = Field(examples=["train.jsonl"])
    purpose: str = Field(examples=["fine-tune", "fine-tune-results"])
    status: Literal["processed"] = "processed"
    sha256: str

    @classmethod
    def of(cls, file: File) -> Self:
        """The view of a stored file."""
        return cls(
            id=file.id,
            bytes=file.size_bytes,
            created_at=int(file.created_at),
            filename=file.filename,
            purpose=file.purpose,
            sha256=file.sha256,
        )


class FileDeleted(BaseModel):
    """A file was taken away."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
