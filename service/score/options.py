"""Options that decide a score whatever model computes it, the same in the query, in a form and in a JSON object."""

from __future__ import annotations

from pydantic import Field

from service.uploads import UploadOptions
from winnow.errors import InvalidOption
from winnow.settings import Settings
from winnow.spec import (
    MIN_WINDOW,
    TRAJECTORY_METHODS,
    Auto,
    Compat,
    Convention,
    Dtype,
    EngineName,
    Method,
    RunSpec,
    Statistic,
    Template,
)


class MethodOptions(UploadOptions):
    """What to measure, and how; everything left out takes the default of the installation or of the method.

    An option that the method does not have is refused, so that nobody believes that it did something. What values an
    option may have is checked where it is used (`RunSpec.make`), for the command line too.
    """

    dataset: str | None = Field(
        None, max_length=64, description="A stored dataset, instead of sending one."
    )
    method: Method = Field(
        "ifd",
        description="What to measure: ifd asks a frozen proxy; learning_percentage and s2l fine-tune it on the whole "
        "dataset (a trajectory, which runs of both share).",
    )
    dtype: Dtype | None = Field(
        None, description="Number format of the computation; float32 is what was published."
    )
    template: Template | None = Field(
        None,
        description="How a prompt is written out for the model; default: plain for ifd, alpaca for the others.",
    )
    convention: Convention | None = Field(
        None,
        description="Of ifd: how both passes are cut; default: paired with template=chat, else superfiltering.",
    )
    statistic: Statistic | None = Field(
        None,
        description="Of ifd: ppl_ratio, the ratio of perplexities (default), or loss_ratio, that of mean losses "
        "(Cherry LLM). Of learning_percentage: lp (default), or approx, which needs one epoch only.",
    )
    max_length: int | None = Field(
        None,
        ge=MIN_WINDOW,
        description="Tokens of prompt and answer; default: the model's window for ifd, 512 for the others.",
    )
    seed: int = Field(
        42,
        ge=0,
        lt=2**63,
        description="Seed of what is drawn at random: the order of training, clusters, a sample.",
    )
    n_epochs: int | None = Field(
        None,
        description="Of a trajectory: epochs of training; default: 3. With `checkpoints`, how many they were trained "
        "for, needed only where they do not tell.",
    )
    points: int | None = Field(
        None,
        description="Of a trajectory: evenly spaced checkpoints, which s2l reads; default: 12.",
    )
    batch_size: int | Auto | None = Field(
        None, description="Of a trajectory: rows in a step of training; default: auto."
    )
    learning_rate: float | Auto | None = Field(
        None,
        description="Of a trajectory: the highest rate of training; auto (default) is 2e-5 from 70 million parameters "
        "up, and below the largest of a few at which the loss clearly falls.",
    )
    epoch: int | None = Field(
        None,
        description="Of learning_percentage: the epoch whose share of the drop is the score; default: 1.",
    )
    compat: Compat | None = Field(
        None,
        description="Of learning_percentage: small2large scores a row that learns nothing with 0, as the published "
        "program does, instead of rejecting it.",
    )
    cache: bool | None = Field(
        None,
        description="Of ifd: whether losses that your earlier runs computed are used; default: WINNOW_CACHE, which is "
        "on. Off where the last digits must be those of a fresh run.",
    )

    def spec_of(
        self, settings: Settings, *, model: str, engine: EngineName, **own: str | bool | int | None
    ) -> RunSpec:
        """The run of one model that these options describe on this installation; `own` are further options of it.

        Raises:
            InvalidOption: options contradict each other, or are not those of the method.
        """
        if self.cache and self.method in TRAJECTORY_METHODS:
            raise InvalidOption(
                f"cache is about the losses of ifd. Those of method={self.method} are kept as a trajectory, which "
                "later runs with the same options share without being asked: leave cache out.",
                param="cache",
            )
        chosen = self.model_dump(include=SPEC_OPTIONS)
        installed = {
            "dtype": self.dtype or settings.dtype,
            "cache": settings.cache if self.cache is None else self.cache,
            "token_budget": settings.budget_of(engine),
        }
        return RunSpec.make(**chosen | installed | own, model=model, engine=engine)


SPEC_OPTIONS = set(MethodOptions.model_fields) - {*UploadOptions.model_fields, "dataset"}
"""Options of a `RunSpec`; the others say which data."""
