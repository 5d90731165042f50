"""What may be asked of `/subsets`, and how a manifest looks."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.runs.labelled import LabellingOptions
from service.runs.schemas import RunOptions
from winnow.output import Output, OutputFormat
from winnow.records.render_csv import CsvEscape
from winnow.selection.ratio import Order, Per, Quota, Selection, Strategy, Stratify
from winnow.spec import Method

Ratio = Annotated[Decimal, Field(gt=0, le=1, max_digits=20)]


class SelectionQuery(BaseModel):
    """Which run, and which of its rows. Give exactly one of `ratio` and `count`."""

    model_config = ConfigDict(extra="forbid")

    run: str | None = Field(
        None,
        max_length=64,
        description="Default: your newest run that did not fail; those of POST /trust are none.",
    )
    dataset: str | None = Field(
        None, max_length=64, description="The newest run of this dataset instead."
    )
    method: Method | None = Field(None, description="The newest run with this method instead.")
    ratio: Ratio | None = Field(
        None, description="Part of the rows read, rounded down.", examples=["0.1"]
    )
    count: int | None = Field(None, ge=1, le=2**53, description="This many rows instead.")
    strategy: Strategy | None = Field(
        None,
        description="Default: the method's own. ifd: top, the highest below 1; learning_percentage: cluster_bottom, "
        "the lowest of every cluster; s2l: cluster_balanced, equally many of every cluster. facility_location takes "
        "representatives of the best rows. Each is open to every run that has what it needs.",
    )
    min_score: float | None = Field(None, allow_inf_nan=False, description="Leave out rows below.")
    max_score: float | None = Field(None, allow_inf_nan=False, description="Leave out rows above.")
    include_unlearned: bool = Field(
        default=False,
        description="Keep rows that the proxy unlearned, which strategies of low scores leave out.",
    )
    seed: int = Field(42, ge=0, lt=2**63, description="Seed of what is drawn at random.")
    order: Order = Field("original", description="Order of the rows in the subset.")
    per: Per | None = Field(
        None, description="Share the rows out first: the same number from every source."
    )
    stratify: Stratify | None = Field(
        None, description="Keep the proportions of sources, or of tenths of answer length."
    )
    quota: Quota | None = Field(
        None,
        description="Of cluster_bottom: per_cluster takes the ratio of every cluster, rounded as the published program "
        "rounds, so that the rows are only about k.",
    )
    pool_ratio: Ratio | None = Field(
        None,
        description="Of facility_location: the part of the rows read, best first, that it chooses from; default: 0.2.",
        examples=["0.2"],
    )

    def selection(self, method: Method) -> Selection:
        """The checked selection for a run with this method.

        Raises:
            InvalidOption: neither or both of ratio and count; bounds that contradict each other.
        """
        return Selection.make(method=method, **self.model_dump(include=SELECTION_OPTIONS))


SELECTION_OPTIONS = set(SelectionQuery.model_fields) - {"run", "dataset", "method"}
"""Options that choose rows; the others name a run."""


class SubsetQuery(SelectionQuery, LabellingOptions):
    """A selection as bytes."""

    include: Literal["scores"] | None = Field(
        None,
        description="Add each row's scores to its record, as the member `winnow`. Files for labelling platforms always "
        "have them.",
    )
    format: OutputFormat = Field(
        "jsonl",
        description="Form of the file. label_studio: a JSON array of tasks with predictions, ready to import; argilla: "
        "JSON lines, each the body of a bulk request.",
    )
    escape: CsvEscape | None = Field(
        None,
        description="Of csv: put an apostrophe before cells that a spreadsheet would take for formulas. For looking "
        "at, not for training on.",
    )

    def output(self) -> Output:
        """The checked form.

        Raises:
            InvalidOption: an option belongs to another format.
        """
        given = self.model_dump(include=_OUTPUT_OPTIONS)
        return Output(include_scores=self.include is not None, **given)


_OUTPUT_OPTIONS = {"format", "escape", "from_name", "to_name", "question_id"}


class RunProvenance(BaseModel):
    """Which scores were selected from."""

    id: str
    name: str | None
    revision: str | None
    window: int | None
    options: RunOptions
    rows_cached: int
    created_at: int
    finished_at: int | None


class DatasetProvenance(BaseModel):
    """Which bytes were scored."""

    id: str
    name: str | None
    sha256: str
    format: str | None
    rows_read: int
    rows_rejected: int


class Distribution(BaseModel):
    """Some numbers, in short; null if there are none."""

    mean: float | None
    median: float | None
    p90: float | None
    max: float | None


class Comparison(BaseModel):
    """The selected rows against all scored rows."""

    score: dict[Literal["selected", "all"], Distribution]
    answer_tokens: dict[Literal["selected", "all"], Distribution]
    share_truncated: dict[Literal["selected", "all"], float | None]


class SourceCount(BaseModel):
    """Rows of one source; null collects the rows that name none."""

    source: str | None
    selected: int
    all: int


class ClusterCount(BaseModel):
    """How many clusters the scored rows are in, and from how many of them rows were selected."""

    selected: int
    all: int


class Manifest(BaseModel):
    """Where a subset comes from, which rule took how many rows, and how it differs from the whole.

    `rows_selected` and the counts of `taken_by_rule` add up to `rows_read`. `duplicates` counts selected records that
    repeat an earlier selected one byte for byte.
    """

    object: Literal["subset.manifest"] = "subset.manifest"
    winnow_version: str
    run: RunProvenance
    dataset: DatasetProvenance
    selection: dict[str, Any]
    rows_read: int
    rows_wanted: int
    rows_selected: int
    taken_by_rule: dict[str, int]
    threshold: float | None = Field(
        description="The last score that got in; null if none did or scores alone did not decide."
    )
    threshold_row: int | None = Field(
        description="Of rows with that very score, the last that got in: those with a higher number did not."
    )
    comparison: Comparison
    clusters: ClusterCount | None = Field(description="Null if the run has no clusters.")
    sources: list[SourceCount]
    duplicates: int | None = Field(
        description="Null while the records are hashed, once for a dataset: ask again in a few seconds."
    )
    links: dict[str, str]
