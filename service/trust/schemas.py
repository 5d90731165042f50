"""What `POST /trust` takes and answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, Field

from service.runs.schemas import RunView
from service.score.options import MethodOptions
from winnow.errors import InvalidOption
from winnow.selection.ratio import Rows
from winnow.settings import Settings
from winnow.spec import EngineName, RunSpec
from winnow.store.datasets import Dataset
from winnow.store.runs import Run
from winnow.trust import MAX_SAMPLE, MIN_SAMPLE


class TrustOptions(MethodOptions):
    """Which two models to compare, on how many rows of which data, and what to measure."""

    proxy: str | None = Field(
        None,
        description="The small model, one of GET /models, those that you fine-tuned too; default: the first of them.",
    )
    target: str | None = Field(
        None,
        description="The large model that the proxy is to stand for; needed, one of GET /models too.",
    )
    sample: int = Field(
        500,
        ge=MIN_SAMPLE,
        le=MAX_SAMPLE,
        description="Rows that both score, or every usable row if there are fewer.",
    )
    engine: Literal["auto"] | EngineName = Field(
        "auto", description="What computes the losses of both models."
    )
    target_engine: Literal["auto"] | EngineName | None = Field(
        None, description="What computes those of the target, if not `engine`."
    )

    def specs(self, settings: Settings) -> tuple[RunSpec, RunSpec]:
        """The runs of the proxy and of the target.

        Raises:
            InvalidOption: they are the same; options contradict each other, or are not those of the method.
        """
        proxy = self.proxy or settings.models[0]
        if self.target in {None, proxy}:
            raise InvalidOption(
                "Name the model that the proxy is to stand for, another one than the proxy.",
                param="target",
            )
        engines = (self.engine, self.target_engine or self.engine)
        first, second = (
            self.spec_of(
                settings,
                model=model,
                engine=settings.default_engine if engine == "auto" else engine,
                embeddings=False,
            )
            for model, engine in zip((proxy, self.target), engines, strict=True)
        )
        return first, second


class SampleView(BaseModel):
    """Which rows of which dataset were drawn: row i of the sample is row `rows[i]` of `dataset`."""

    dataset: str = Field(examples=["ds_mfrggzdfmztwq2lknnwg23tp"])
    rows_read: int
    rows_usable: int = Field(description="The sample was drawn from these.")
    seed: int
    rows: list[int]


class TrustView(BaseModel):
    """Two runs on one sample; once both are completed, `links.report` says how far the proxy can be trusted."""

    object: Literal["trust"] = "trust"
    sample: SampleView
    proxy: RunView
    target: RunView
    links: dict[str, str]

    @classmethod
    def of(cls, dataset: Dataset, rows: Rows, pair: Sequence[Run], *, seed: int) -> Self:
        """The view of the runs of proxy and target on these rows of a dataset."""
        proxy, target = pair
        sample = SampleView(
            dataset=dataset.id,
            rows_read=dataset.rows_read or 0,
            rows_usable=dataset.rows_usable or 0,
            seed=seed,
            rows=rows.tolist(),
        )
        return cls(
            sample=sample,
            proxy=RunView.of(proxy),
            target=RunView.of(target),
            links={"report": f"/runs/{proxy.id}/trust/{target.id}"},
        )
