"""The options of `POST /score`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.score.options import MethodOptions
from winnow.settings import Settings
from winnow.spec import EngineName, RunSpec
from winnow.webhooks.url import MAX_URL


class ScoreOptions(MethodOptions):
    """What to score with which model, and how."""

    model: str | None = Field(
        None,
        description="Proxy model, one of GET /models, those that you fine-tuned too; default: the first of them.",
    )
    engine: Literal["auto"] | EngineName = Field("auto", description="What computes the losses.")
    embeddings: bool | str | None = Field(
        None,
        description="Whether rows are embedded, which clusters and strategy=facility_location need: true (by the "
        "proxy), false, or sentence-transformers:NAME; default: true for learning_percentage, else false.",
        examples=["true", "sentence-transformers:all-MiniLM-L6-v2"],
    )
    num_clusters: int | None = Field(
        None,
        description="Clusters of rows; default: 100 for s2l, else one for every 50 rows, at most 1,000.",
    )
    keep_weights: bool | None = Field(
        None, description="Of a trajectory: keep the weights of its checkpoints; default: false."
    )
    checkpoints: str | None = Field(
        None,
        max_length=1024,
        description="Of a trajectory: a folder of checkpoints that you trained yourself, instead of training; one of "
        "those below WINNOW_CHECKPOINTS.",
    )
    dry_run: bool = Field(
        default=False,
        description="Score nothing: the run ends with an `estimate` of tokens, rejections and time, and what was sent "
        "along is removed again.",
    )
    webhook_url: str | None = Field(
        None,
        max_length=MAX_URL,
        description="Who is told when the run is over: a signed POST, see `webhooks` in this document.",
        examples=["https://example.com/winnow"],
    )

    def spec(self, settings: Settings) -> RunSpec:
        """The run that these options describe on this installation.

        Raises:
            InvalidOption: options contradict each other, or are not those of the method.
        """
        return self.spec_of(
            settings,
            model=self.model or settings.models[0],
            engine=settings.default_engine if self.engine == "auto" else self.engine,
            embeddings=self.embeddings,
            num_clusters=self.num_clusters,
            keep_weights=self.keep_weights,
            checkpoints=self.checkpoints,
        )
