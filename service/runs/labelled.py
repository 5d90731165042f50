"""Runs for labelling platforms: the options of those formats, and every row of a run as one such file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
from pydantic import BaseModel, Field

from service.pages import AfterNumber, LongLimit
from service.runs.results import read_scores, score_path
from winnow.errors import InvalidOption
from winnow.labelling.prediction import DEFAULT_RATIO, Prediction, keep_threshold, predict
from winnow.output import LabellingFormat, Origin, Output, render_labelling
from winnow.records.blocks import BlockReader, Rows
from winnow.scores import SELECTION_COLUMNS, ScoreFormat, score_records
from winnow.store.blobs import Blobs
from winnow.store.runs import Run

ControlName = Annotated[str, Field(min_length=1, max_length=200)]
"""The name of a tag in a labelling configuration."""


class LabellingOptions(BaseModel):
    """Options of the formats `label_studio` and `argilla`."""

    from_name: ControlName | None = Field(
        None, description="Of label_studio: the control that takes the choice; default: verdict."
    )
    to_name: ControlName | None = Field(
        None, description="Of label_studio: the object that the control is about; default: answer."
    )
    question_id: UUID | None = Field(
        None,
        description="Of argilla: the question that the choice answers. Without it records carry no suggestion.",
    )


class ScoresQuery(LabellingOptions):
    """Which scores of a run, and in which form."""

    format: ScoreFormat | LabellingFormat | None = Field(
        None,
        description="Every row at once, as a file; needs a completed run. label_studio and argilla have the records "
        "too, as in /subsets.",
    )
    ratio: Decimal | None = Field(
        None,
        gt=0,
        le=1,
        max_digits=20,
        description="Of label_studio and argilla: the part of the rows, hardest first, that the choice keep stands "
        "for; default: 0.1.",
    )
    after: AfterNumber = -1
    limit: LongLimit = 100

    def output(self) -> Output:
        """The checked form; a page is JSON lines to it.

        Raises:
            InvalidOption: an option belongs to another format.
        """
        output = Output(
            format=self.format or "jsonl",
            from_name=self.from_name,
            to_name=self.to_name,
            question_id=self.question_id,
        )
        if self.ratio is not None and not output.for_labelling:
            raise InvalidOption(
                "ratio says which rows labelling platforms show as keep: give format=label_studio or argilla with it.",
                param="ratio",
            )
        return output


def origin_of(run: Run) -> Origin:
    """Where the rows of a run come from."""
    return Origin(method=run.method, dataset=run.dataset_id, run=run.id, version=run.id)


def stream_labelled(
    blobs: Blobs, run: Run, output: Output, *, ratio: Decimal | None
) -> Iterator[bytes]:
    """Every row of a completed run, in order and in bounded memory; `keep` are the hardest `ratio` of them."""
    ranked = read_scores(blobs, run, columns=SELECTION_COLUMNS)
    threshold = keep_threshold(ranked, run.method, ratio=ratio or DEFAULT_RATIO)
    reader = BlockReader(*blobs.folder(f"datasets/{run.dataset_id}/rows"))
    with blobs.open_read(score_path(run)) as file, pq.ParquetFile(file) as parquet:
        scores = _in_order(parquet)

        def said(rows: Rows) -> list[Prediction]:
            """Rows are asked for in the order in which their scores are read, so neither is held as a whole."""
            found = islice(scores, len(rows))
            return [predict(run.method, each, threshold=threshold) for each in found]

        rows = np.arange(reader.num_rows)
        yield from render_labelling(
            reader, rows, output=output, predictions=said, origin=origin_of(run)
        )


def _in_order(parquet: pq.ParquetFile) -> Iterator[Mapping[str, Any]]:
    for batch in parquet.iter_batches(batch_size=1024):
        yield from score_records(batch)
