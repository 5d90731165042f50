"""How a model looks over HTTP: in our shape, and in OpenAI's."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class OfferView(BaseModel):
    """A way in which running workers can compute with a model."""

    engine: str
    dtype: str
    num_workers: int


class ModelView(BaseModel):
    """A model that a run may use; without offers its runs wait for a worker."""

    id: str = Field(examples=["winnow-mini"])
    object: Literal["model"] = "model"
    default: bool
    base: str | None = Field(
        None, description="What a fine-tuned model rests on; null for those that may be fine-tuned."
    )
    revision: str | None = Field(
        description="Hash of the model's files; null if they are not on the gateway's machine."
    )
    offers: list[OfferView]


class OpenAIModelView(BaseModel):
    """A model as `openai.models` knows it; `created` is 0 for the models of the installation."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str
