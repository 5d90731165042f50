"""The forms in which chosen rows leave: files of records, and files for labelling platforms.

jsonl, json, csv, parquet    the records as they came (`winnow.records.render`)
label_studio                 tasks with predictions (`winnow.labelling.label_studio`)
argilla                      bodies of bulk requests (`winnow.labelling.argilla`)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args
from uuid import UUID

from winnow.errors import InvalidOption
from winnow.labelling.argilla import render_bulks
from winnow.labelling.label_config import FROM_NAME, TO_NAME, LabelConfig
from winnow.labelling.label_studio import render_tasks
from winnow.labelling.prediction import Predictions, easiest, predictions_of
from winnow.records.blocks import BlockReader, Rows
from winnow.records.render import render
from winnow.records.render_csv import CsvEscape
from winnow.scores import ScoreTable, score_members
from winnow.spec import Method

LabellingFormat = Literal["label_studio", "argilla"]
OutputFormat = Literal["jsonl", "json", "csv", "parquet", "label_studio", "argilla"]
LABELLING_FORMATS: tuple[str, ...] = get_args(LabellingFormat)
OUTPUT_FORMATS: tuple[str, ...] = get_args(OutputFormat)

_SUFFIXES = {"label_studio": "json", "argilla": "jsonl"}
_BELONGS_TO = {
    "escape": "csv",
    "from_name": "label_studio",
    "to_name": "label_studio",
    "question_id": "argilla",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A checked form.

    `escape` is of CSV (`winnow.records.render_csv`). `from_name` and `to_name` are the control that takes the choice in
    Label Studio and the object that it is about; `question_id` is the question that it answers in Argilla.
    """

    format: str = "jsonl"
    include_scores: bool = False
    escape: CsvEscape | None = None
    from_name: str | None = None
    to_name: str | None = None
    question_id: UUID | None = None

    def __post_init__(self) -> None:
        """Raises InvalidOption, which names the option and what it may be."""
        if self.format not in OUTPUT_FORMATS:
            raise InvalidOption(
                f"format must be one of {', '.join(OUTPUT_FORMATS)}; got {self.format!r}.",
                param="format",
            )
        for name, owner in _BELONGS_TO.items():
            if getattr(self, name) is not None and self.format != owner:
                raise InvalidOption(
                    f"{name} belongs to format={owner}, not to {self.format}.", param=name
                )

    @property
    def for_labelling(self) -> bool:
        """Whether rows leave with what their scores mean, rather than as records."""
        return self.format in LABELLING_FORMATS

    @property
    def shows_scores(self) -> bool:
        """Whether the form needs all columns of the scores."""
        return self.include_scores or self.for_labelling

    @property
    def suffix(self) -> str:
        """What the name of such a file ends with."""
        return _SUFFIXES.get(self.format, self.format)

    def as_query(self) -> dict[str, str]:
        """The options that are set, as `/subsets` takes them."""
        query = {
            "format": self.format,
            "include": "scores" if self.include_scores else None,
            "escape": self.escape,
            "from_name": self.from_name,
            "to_name": self.to_name,
            "question_id": None if self.question_id is None else str(self.question_id),
        }
        return {name: value for name, value in query.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where rows and scores come from, as labelling platforms show it.

    `dataset` tells its rows from those of other datasets; `run` is None where scores come from a file; `version` stands
    beside each prediction: the id of the run, or the model.
    """

    method: Method
    dataset: str
    run: str | None
    version: str


def render_output(
    reader: BlockReader, rows: Rows, *, output: Output, scores: ScoreTable, origin: Origin
) -> Iterator[bytes]:
    """Yield the rows of a selection, in the order given; each of them is one to keep.

    Args:
        reader: the dataset.
        rows: numbers of usable rows.
        output: in which form.
        scores: their scores, with all columns if the form shows them.
        origin: where both come from.
    """
    if output.for_labelling:
        kept = predictions_of(scores, origin.method, threshold=easiest(origin.method))
        return render_labelling(reader, rows, output=output, predictions=kept, origin=origin)
    return render(
        reader,
        rows,
        format=output.format,
        scores=partial(score_members, scores) if output.include_scores else None,
        escape=output.escape,
    )


def render_labelling(
    reader: BlockReader, rows: Rows, *, output: Output, predictions: Predictions, origin: Origin
) -> Iterator[bytes]:
    """Yield rows, usable or rejected, in the order given and in a form of `LABELLING_FORMATS`."""
    if output.format == "argilla":
        return render_bulks(
            reader,
            rows,
            predictions=predictions,
            dataset=origin.dataset,
            agent=origin.version,
            question_id=output.question_id,
        )
    config = LabelConfig.plain(
        from_name=output.from_name or FROM_NAME, to_name=output.to_name or TO_NAME
    )
    return render_tasks(
        reader,
        rows,
        predictions=predictions,
        run=origin.run,
        model_version=origin.version,
        config=config,
    )
