"""The options of `POST /score`, the same in the query, in a form and in a JSON object."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.uploads import UploadOptions
from winnow.settings import Settings
from winnow.spec import (
    MIN_WINDOW,
    Convention,
    Dtype,
    EngineName,
    Method,
    RunSpec,
    Statistic,
    Template,
)


class ScoreOptions(UploadOptions):
    """What to score, and how; everything left out takes the default of the installation or of the method."""

    dataset: str | None = Field(
        None, max_length=64, description="A stored dataset, instead of sending one."
    )
    method: Method = Field("ifd", description="What to measure.")
    model: str | None = Field(
        None,
        description="Proxy model, one of GET /models, those that you fine-tuned too; default: the first of them.",
    )
    engine: Literal["auto"] | EngineName = Field("auto", description="What computes the losses.")
    dtype: Dtype | None = Field(
        None, description="Number format of the computation; float32 is what was published."
    )
    template: Template = Field("plain", description="How a prompt is written out for the model.")
    convention: Convention | None = Field(
        None,
        description="How both passes are cut; default: paired with template=chat, else superfiltering.",
    )
    statistic: Statistic = Field(
        "ppl_ratio", description="Ratio of perplexities (IFD), or of mean losses (Cherry LLM)."
    )
    max_length: int | None = Field(
        None, ge=MIN_WINDOW, description="Tokens of prompt and answer; default: the model's window."
    )
    seed: int = Field(42, ge=0, lt=2**63, description="Seed of methods that draw at random.")
    cache: bool | None = Field(
        None,
        description="Whether losses that your earlier runs computed are used; default: WINNOW_CACHE, which is on. "
        "Off where the last digits must be those of a fresh run.",
    )
    dry_run: bool = Field(
        default=False,
        description="Score nothing: the run ends with an `estimate` of tokens, rejections and time, and what was sent "
        "along is removed again.",
    )

    def spec(self, settings: Settings) -> RunSpec:
        """The run that these options describe on this installation.

        Raises:
            InvalidOption: options contradict each other.
        """
        engine = settings.default_engine if self.engine == "auto" else self.engine
        return RunSpec.make(
            method=self.method,
            model=self.model or settings.models[0],
            engine=engine,
            dtype=self.dtype or settings.dtype,
            template=self.template,
            convention=self.convention,
            statistic=self.statistic,
            max_length=self.max_length,
            token_budget=settings.budget_of(engine),
            seed=self.seed,
            cache=settings.cache if self.cache is None else self.cache,
        )
