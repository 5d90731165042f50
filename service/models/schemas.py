"""How a model looks over HTTP."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class OfferView(BaseModel):
    """A way in which running workers can compute with a model."""

    engine: str
    dtype: str
    num_workers: int


class ModelView(BaseModel):
    """A proxy model that a run may use; without offers its runs wait for a worker."""

    id: str = Field(examples=["winnow-mini"])
    object: Literal["model"] = "model"
    default: bool
    revision: str | None = Field(
        description="Hash of the model's files; null if they are not on the gateway's machine."
    )
    offers: list[OfferView]
