"""How a run, its events and its scores look over HTTP."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import PurePath
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from service.datasets.schemas import ErrorView, RejectionView
from winnow.estimate import Estimate
from winnow.records.example import Flag, RejectionReason
from winnow.spec import (
    Auto,
    Compat,
    Convention,
    Dtype,
    EngineName,
    Method,
    RunSpec,
    Statistic,
    Template,
    TrajectorySpec,
)
from winnow.store.events import Event
from winnow.store.runs import Run, RunStatus


class TrajectoryOptions(BaseModel):
    """How a trajectory is trained: what decides it beside its dataset, its model and what computes its losses."""

    n_epochs: int
    points: int
    batch_size: int | Auto
    learning_rate: float | Auto
    template: Template
    max_length: int
    seed: int
    keep_weights: bool
    checkpoints: str | None = Field(
        description="Name of the folder of checkpoints that were trained elsewhere."
    )
    checkpoints_revision: str | None = Field(
        description="Hash of the files of these checkpoints when the run was made."
    )

    @classmethod
    def of(cls, spec: TrajectorySpec) -> Self:
        """The view of these options; of a folder of the operator's machine its last name."""
        own = spec.checkpoints and PurePath(spec.checkpoints).name
        return cls(**asdict(replace(spec, checkpoints=own)))


class RunOptions(BaseModel):
    """Every option that decides a score; a method reads those that it has."""

    method: Method
    model: str
    engine: EngineName
    dtype: Dtype
    template: Template
    convention: Convention
    statistic: Statistic
    max_length: int | None
    token_budget: int
    seed: int
    cache: bool
    trajectory: TrajectoryOptions | None
    embeddings: str | None
    num_clusters: int | None
    epoch: int
    compat: Compat | None

    @classmethod
    def of(cls, spec: RunSpec) -> Self:
        """The view of a run's options."""
        trajectory = spec.trajectory and TrajectoryOptions.of(spec.trajectory)
        return cls(**spec.as_dict() | {"trajectory": trajectory})


class RunCounts(BaseModel):
    """How far a run is; rows and blocks are null until the dataset is read.

    `rows_cached` needed no computation, because earlier runs had computed their losses.
    """

    rows: int | None
    rows_done: int
    rows_scored: int
    rows_rejected: int
    rows_cached: int
    blocks: int | None
    blocks_done: int


class ShownRowView(BaseModel):
    """How a usable row was read; texts are cut after 500 characters, and `..._chars` count all of them."""

    row: int
    source: str | None
    prompt: str
    answer: str
    prompt_chars: int
    answer_chars: int


class EstimateView(BaseModel):
    """What scoring would do. Counts are exact if `rows_sampled` is `rows`, else scaled from a sample of whole blocks.

    `seconds` is the time of one worker, from that of `rows_timed` rows, without loading the model; it is null if no row
    can be scored. What the cache knows is not subtracted.
    """

    rows: int
    rows_sampled: int
    rows_scored: int
    rows_rejected: int
    rows_truncated: int
    share_rejected: float = Field(description="Of all rows.")
    share_truncated: float = Field(description="Of the rows that can be scored.")
    rejected_by_reason: dict[RejectionReason, int]
    tokens_conditioned: int = Field(description="Scored after their prompts.")
    tokens_direct: int = Field(description="Scored without their prompts.")
    tokens_read: int = Field(description="All that go through the model, prompts among them.")
    rows_timed: int
    seconds: float | None
    rows_per_s: float | None
    workers: int = Field(description="That offered the model; scoring is shared among them.")
    format: str | None = Field(examples=["jsonl+gzip"])
    first_rows: list[ShownRowView] = Field(description="The first five usable ones.")
    rejections: list[RejectionView] = Field(
        description="The first twenty of the sample; `detail` names the line."
    )

    @classmethod
    def of(cls, estimate: Estimate | None) -> Self | None:
        """The view of a dry run's estimate, once it is there."""
        if estimate is None:
            return None
        rounded = {
            "share_rejected": round(estimate.share_rejected, 6),
            "share_truncated": round(estimate.share_truncated, 6),
            "seconds": _rounded(estimate.seconds, 3),
            "rows_per_s": _rounded(estimate.rows_per_s, 2),
        }
        return cls(**estimate.as_dict() | rounded)


class RunView(BaseModel):
    """A run. Times are unix seconds, rates are rows a second; `waits_for` says why nothing happens, if so."""

    id: str = Field(examples=["run_mfrggzdfmztwq2lknnwg23tp"])
    object: Literal["run"] = "run"
    name: str | None
    status: RunStatus
    dataset: str = Field(examples=["ds_mfrggzdfmztwq2lknnwg23tp"])
    method: Method
    model: str
    revision: str | None = Field(
        description="Hash of the model's files; null until a worker has looked at them."
    )
    window: int | None
    trajectory: str | None = Field(
        examples=["traj_mfrggzdfmztwq2lknnwg23tp"],
        description="Whose losses the scores are made of: GET /trajectories/{id} tells how far its training is. Null "
        "for ifd, and until the dataset is read.",
    )
    options: RunOptions
    counts: RunCounts
    rows_per_s: float | None
    eta_s: float | None
    waits_for: str | None
    summary: dict[str, Any] | None = Field(
        description="Quantiles of the scores, rejections by reason, and what the method adds; once completed."
    )
    dry_run: bool
    estimate: EstimateView | None = Field(
        description="Of a dry run, once completed; it has no scores, and is removed after an hour."
    )
    webhook_url: str | None = Field(description="Who is told when the run is over.")
    warnings: list[str]
    error: ErrorView | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    links: dict[str, str]

    @classmethod
    def of(cls, run: Run, *, waits_for: str | None = None) -> Self:
        """The view of a stored run."""
        rate = _rows_per_s(run)
        return cls(
            id=run.id,
            name=run.name,
            status=run.status,
            dataset=run.dataset_id,
            method=run.method,
            model=run.model,
            revision=run.revision,
            window=run.window,
            trajectory=run.trajectory_id,
            options=RunOptions.of(run.spec),
            counts=RunCounts(
                rows=run.rows,
                rows_done=run.rows_done,
                rows_scored=run.rows_scored,
                rows_rejected=run.rows_rejected,
                rows_cached=run.rows_cached,
                blocks=run.blocks,
                blocks_done=run.blocks_done,
            ),
            rows_per_s=rate,
            eta_s=_eta_s(run, rate),
            waits_for=waits_for,
            summary=run.summary,
            dry_run=run.dry_run,
            estimate=EstimateView.of(run.estimate),
            webhook_url=run.webhook_url,
            warnings=list(run.warnings),
            error=ErrorView.of(run.error),
            created_at=int(run.created_at),
            started_at=_whole(run.started_at),
            finished_at=_whole(run.finished_at),
            links=_links(run),
        )


class EventView(BaseModel):
    """Something that happened to a run; `seq` counts from 1."""

    seq: int
    object: Literal["run.event"] = "run.event"
    type: str = Field(examples=["run.scoring"])
    message: str
    data: dict[str, Any]
    created_at: int

    @classmethod
    def of(cls, event: Event) -> Self:
        """The view of a stored event."""
        return cls(
            seq=event.seq,
            type=event.type,
            message=event.message,
            data=event.data,
            created_at=int(event.created_at),
        )


class ScoreView(BaseModel):
    """What happened to one row: `scored` with a score, or `rejected` with a reason. Losses are nats per token.

    `loss_direct` is ifd's alone. `cluster` is there if the run has clusters, `cluster_in_source` if the rows of each
    source were clustered by themselves.
    """

    row: int
    status: Literal["scored", "rejected"]
    score: float | None = None
    loss_conditioned: float | None = None
    loss_direct: float | None = None
    tokens_conditioned: int | None = None
    tokens_direct: int | None = None
    flags: list[Flag] | None = None
    cluster: int | None = None
    cluster_in_source: int | None = None
    reason: RejectionReason | None = None
    detail: str | None = None


class SourceHistogram(BaseModel):
    """The same bins, for the rows of one source; null collects those that name none."""

    source: str | None
    counts: list[int]
    below: int
    above: int
    scored: int


class Histogram(BaseModel):
    """Counts of scored rows; bin i holds scores from `edges[i]` to `edges[i + 1]`, the last one its end too.

    `below` and `above` lie outside the range that was asked for: counts + below + above = scored. `by_source` is there
    if it was asked for: the 20 largest sources.
    """

    object: Literal["histogram"] = "histogram"
    run: str
    edges: list[float]
    counts: list[int]
    below: int
    above: int
    scored: int
    rejected: int
    by_source: list[SourceHistogram] | None = None


def _rows_per_s(run: Run) -> float | None:
    return round(run.rows_done / run.scoring_s, 2) if run.scoring_s and run.rows_done else None


def _eta_s(run: Run, rate: float | None) -> float | None:
    if run.status != "scoring" or run.rows is None or not rate:
        return None
    return round((run.rows - run.rows_done) / rate, 1)


def _rounded(number: float | None, digits: int) -> float | None:
    return None if number is None else round(number, digits)


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)


def _links(run: Run) -> dict[str, str]:
    path = f"/runs/{run.id}"
    of_any = {"self": path, "dataset": f"/datasets/{run.dataset_id}", "events": f"{path}/events"}
    if run.trajectory_id is not None:
        of_any["trajectory"] = f"/trajectories/{run.trajectory_id}"
    if run.dry_run:
        return of_any
    return of_any | {
        "scores": f"{path}/scores",
        "histogram": f"{path}/histogram",
        "rows": f"{path}/rows",
        "report": f"{path}/report",
        "subset": f"/subsets?run={run.id}&ratio=0.1",
        "manifest": f"/subsets/manifest?run={run.id}&ratio=0.1",
    }
