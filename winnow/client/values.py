"""What goes into the client and what comes out of it, as frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypedDict

from pydantic import TypeAdapter

from winnow.client.tables import Table

Data = Path | str | BinaryIO | Table | Iterable[Mapping[str, Any]]
"""A dataset: the path of a file, an open binary file, a table of pandas, Polars, Arrow or `datasets`, or records."""


class UploadOptions(TypedDict, total=False):
    """Options of every upload: see `POST /datasets` in the API."""

    name: str
    format: Literal["auto", "json", "jsonl", "csv", "tsv", "parquet"]


class MethodOptions(TypedDict, total=False):
    """Options that decide a score, apart from the model: see `POST /score` in the API."""

    method: Literal["ifd", "learning_percentage", "s2l"]
    dtype: str
    template: str
    convention: str
    statistic: str
    max_length: int
    seed: int
    cache: bool
    n_epochs: int
    points: int
    batch_size: int | Literal["auto"]
    learning_rate: float | Literal["auto"]
    epoch: int
    compat: Literal["small2large"]


class ScoreOptions(MethodOptions, UploadOptions, total=False):
    """Options of a run: see `POST /score` in the API."""

    model: str
    engine: str
    embeddings: bool | str
    num_clusters: int
    keep_weights: bool
    checkpoints: str
    dry_run: bool
    webhook_url: str


class TrustOptions(MethodOptions, total=False):
    """Options of a comparison of two models: see `POST /trust` in the API."""

    name: str
    proxy: str
    sample: int
    engine: str
    target_engine: str


class SelectionOptions(TypedDict, total=False):
    """Which rows: see `GET /subsets` in the API. Exactly one of `ratio` and `count`."""

    run: str
    dataset: str
    method: Literal["ifd", "learning_percentage", "s2l"]
    ratio: float | str
    count: int
    strategy: Literal[
        "top", "bottom", "random", "cluster_bottom", "cluster_balanced", "facility_location"
    ]
    min_score: float
    max_score: float
    include_unlearned: bool
    seed: int
    order: Literal["original", "score"]
    per: Literal["source"]
    stratify: Literal["length", "source"]
    quota: Literal["per_cluster"]
    pool_ratio: float | str


class SubsetOptions(SelectionOptions, total=False):
    """Which rows, and in which form: see `GET /subsets` in the API."""

    include: Literal["scores"]
    format: Literal["jsonl", "json", "csv", "parquet", "label_studio", "argilla"]
    escape: Literal["spreadsheet"]
    from_name: str
    to_name: str
    question_id: str


class ScoresFileOptions(TypedDict, total=False):
    """The form of all scores of a run: see `GET /runs/{id}/scores` in the API."""

    format: Literal["jsonl", "csv", "parquet", "label_studio", "argilla"]
    ratio: float | str
    from_name: str
    to_name: str
    question_id: str


class FineTuneOptions(TypedDict, total=False):
    """Options of a fine-tuning job: see `POST /v1/fine_tuning/jobs` in the API; ours stand beside OpenAI's."""

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    seed: int
    suffix: str
    metadata: dict[str, str]
    adapter: Literal["lora", "none"]
    lora_rank: int
    lora_alpha: int
    lora_dropout: float
    target_modules: list[str]
    dtype: Literal["auto", "float32", "bfloat16"]
    max_length: int
    template: Literal["auto", "plain", "alpaca", "chat"]
    packing: bool
    gradient_checkpointing: bool
    processes: int
    merge: bool
    webhook_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A subset that was written to a file, and where it came from."""

    path: Path
    run: str
    num_bytes: int
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why something failed; `param` is the option to change, if it is one."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Bytes that were posted, once per owner; counts are None until they are read. Times are unix seconds."""

    id: str
    name: str | None
    sha256: str
    size_bytes: int
    format: str | None
    status: str
    rows_read: int | None
    rows_usable: int | None
    rows_rejected: int | None
    error: Problem | None
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How far a run is; rows and blocks are None until the dataset is read.

    `rows_cached` needed no computation, because earlier runs had computed their losses.
    """

    rows: int | None
    rows_done: int
    rows_scored: int
    rows_rejected: int
    blocks: int | None
    blocks_done: int
    rows_cached: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What scoring would do; exact counts if `rows_sampled` is `rows`. `seconds` and `rows_per_s` are of one worker.

    `first_rows` and `rejections` show how the data was read, and what stood in the way.
    """

    rows: int
    rows_sampled: int
    rows_scored: int
    rows_rejected: int
    rows_truncated: int
    share_rejected: float
    share_truncated: float
    rejected_by_reason: dict[str, int]
    tokens_conditioned: int
    tokens_direct: int
    tokens_read: int
    rows_timed: int
    seconds: float | None
    rows_per_s: float | None
    workers: int
    format: str | None = None
    first_rows: list[dict[str, Any]] = field(default_factory=list)
    rejections: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run; `waits_for` says why nothing happens, if so. Times are unix seconds, rates rows a second.

    A `dry_run` ends with an `estimate` and has no scores. `trajectory` is the id of what its method reads losses of.
    """

    id: str
    name: str | None
    status: str
    dataset: str
    method: str
    model: str
    revision: str | None
    window: int | None
    options: dict[str, Any]
    counts: Counts
    rows_per_s: float | None
    eta_s: float | None
    waits_for: str | None
    summary: dict[str, Any] | None
    warnings: list[str]
    error: Problem | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    dry_run: bool = False
    estimate: Estimate | None = None
    trajectory: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryTraining:
    """How far the training of a trajectory is; `hyperparameters` say what `auto` came to."""

    status: str
    step: int
    total_steps: int | None
    trained_tokens: int
    hyperparameters: dict[str, Any]
    estimated_finish: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryCounts:
    """How far evaluation is; `rows_done` counts rows over all checkpoints."""

    rows: int
    blocks: int
    checkpoints: int | None
    checkpoints_done: int
    rows_done: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryCheckpoint:
    """The proxy after `step` steps: the end of `epoch`, a `point` of s2l, or both; losses in nats per token."""

    position: int
    step: int
    epoch: int | None
    point: bool
    blocks_done: int
    mean_loss: float | None
    weights: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """The losses of a dataset while a proxy is fine-tuned on it; `training` is None if that was done elsewhere."""

    id: str
    status: str
    dataset: str
    model: str
    revision: str | None
    engine: str
    dtype: str
    options: dict[str, Any]
    training: TrajectoryTraining | None
    counts: TrajectoryCounts
    checkpoints: list[TrajectoryCheckpoint]
    waits_for: str | None
    error: Problem | None
    created_at: int
    started_at: int | None
    finished_at: int | None

    @property
    def active(self) -> bool:
        """Whether it may still change."""
        return self.status in {"queued", "training", "evaluating"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Rows that were drawn: row i of the sample is row `rows[i]` of `dataset`, out of `rows_usable`."""

    dataset: str
    rows_read: int
    rows_usable: int
    seed: int
    rows: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Two runs on one sample."""

    sample: Sample
    proxy: Run
    target: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Training data that was uploaded, or a part of what a fine-tuning job left."""

    id: str
    filename: str
    bytes: int
    purpose: str
    sha256: str
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How far a job is; `waits_for` says why nothing happens, if so."""

    options: dict[str, Any]
    step: int
    total_steps: int | None
    waits_for: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTune:
    """A fine-tuning job. Times are unix seconds; hyperparameters are `auto` until training has decided."""

    id: str
    status: str
    model: str
    fine_tuned_model: str | None
    training_file: str
    validation_file: str | None
    hyperparameters: dict[str, Any]
    seed: int
    trained_tokens: int | None
    result_files: list[str]
    error: Problem | None
    estimated_finish: int | None
    created_at: int
    finished_at: int | None
    winnow: Training
    metadata: dict[str, str] | None = field(default=None)

    @property
    def over(self) -> bool:
        """Whether the job can't change any more."""
        return self.status in {"succeeded", "failed", "cancelled"}


RUN = TypeAdapter(Run)
TRAJECTORY = TypeAdapter(Trajectory)
TRUST = TypeAdapter(Trust)
DATASET = TypeAdapter(Dataset)
FILE = TypeAdapter(File)
FINE_TUNE = TypeAdapter(FineTune)
"""They read the fields that this version knows; a newer service may send more."""
