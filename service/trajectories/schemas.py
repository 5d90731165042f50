"""How a trajectory and its events look over HTTP. The fine-tune under it is no job of anybody, and has no id here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from service.datasets.schemas import ErrorView
from service.runs.schemas import TrajectoryOptions
from winnow.spec import Dtype, EngineName
from winnow.store.events import Event
from winnow.store.fine_tunes import FineTuneStatus
from winnow.store.trajectories import KeptCheckpoint, Training, Trajectory, TrajectoryStatus


class TrainingView(BaseModel):
    """How far training is; `hyperparameters` say what `auto` came to, and are empty until it begins."""

    status: FineTuneStatus
    step: int
    total_steps: int | None
    trained_tokens: int
    hyperparameters: dict[str, Any]
    estimated_finish: int | None

    @classmethod
    def of(cls, training: Training | None) -> Self | None:
        """The view of the training; None for checkpoints that were trained elsewhere."""
        if training is None:
            return None
        return cls(
            status=training.status,
            step=training.step,
            total_steps=training.total_steps,
            trained_tokens=training.trained_tokens,
            hyperparameters=training.hyperparameters,
            estimated_finish=_whole(training.estimated_finish),
        )


class TrajectoryCounts(BaseModel):
    """How far evaluation is: every row at every checkpoint, `rows * checkpoints` in all.

    `checkpoints` counts the model before training too; it is null until training knows its steps.
    """

    rows: int
    blocks: int
    checkpoints: int | None
    checkpoints_done: int
    rows_done: int = Field(description="Over all checkpoints.")


class TrajectoryCheckpointView(BaseModel):
    """The proxy after so many steps: an end of an epoch, which learning_percentage reads, a point of s2l, or both."""

    position: int
    step: int
    epoch: int | None = Field(description="The epoch that ends here; 0: before training.")
    point: bool
    blocks_done: int
    mean_loss: float | None = Field(
        description="Nats per token over the rows that are evaluated so far."
    )
    weights: str | None = Field(
        description="Folder of the weights in the blob store, or the name of your own; null once they are deleted."
    )


class TrajectoryView(BaseModel):
    """A trajectory. Times are unix seconds; `waits_for` says why nothing happens, if so."""

    id: str = Field(examples=["traj_mfrggzdfmztwq2lknnwg23tp"])
    object: Literal["trajectory"] = "trajectory"
    status: TrajectoryStatus
    dataset: str = Field(examples=["ds_mfrggzdfmztwq2lknnwg23tp"])
    model: str
    revision: str | None = Field(
        description="Hash of the files of the model before training; null until a worker has looked at them."
    )
    window: int | None
    engine: EngineName
    dtype: Dtype
    token_budget: int
    options: TrajectoryOptions
    training: TrainingView | None = Field(
        description="Null if the checkpoints were trained elsewhere."
    )
    counts: TrajectoryCounts
    checkpoints: list[TrajectoryCheckpointView] = Field(
        description="Those that are there so far, by their steps."
    )
    waits_for: str | None
    error: ErrorView | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    links: dict[str, str]

    @classmethod
    def of(
        cls,
        trajectory: Trajectory,
        *,
        checkpoints: Sequence[KeptCheckpoint],
        waits_for: str | None = None,
    ) -> Self:
        """The view of a stored trajectory."""
        options = trajectory.spec.trajectory
        assert options is not None  # noqa: S101  # what made the trajectory
        path = f"/trajectories/{trajectory.id}"
        return cls(
            id=trajectory.id,
            status=trajectory.status,
            dataset=trajectory.dataset_id,
            model=trajectory.spec.model,
            revision=trajectory.revision,
            window=trajectory.window,
            engine=trajectory.spec.engine,
            dtype=trajectory.spec.dtype,
            token_budget=trajectory.spec.token_budget,
            options=TrajectoryOptions.of(replace(options, keep_weights=trajectory.keep_weights)),
            training=TrainingView.of(trajectory.training),
            counts=_counts(trajectory),
            checkpoints=[
                _checkpoint(kept, own=trajectory.training is None) for kept in checkpoints
            ],
            waits_for=waits_for,
            error=ErrorView.of(trajectory.error),
            created_at=int(trajectory.created_at),
            started_at=_whole(trajectory.started_at),
            finished_at=_whole(trajectory.finished_at),
            links={
                "self": path,
                "dataset": f"/datasets/{trajectory.dataset_id}",
                "events": f"{path}/events",
                "losses": f"{path}/losses?format=parquet",
            },
        )


class TrajectoryEventView(BaseModel):
    """Something that happened to a trajectory, each step of its training too; `seq` counts from 1."""

    seq: int
    object: Literal["trajectory.event"] = "trajectory.event"
    type: str = Field(examples=["trajectory.step"])
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


def _counts(trajectory: Trajectory) -> TrajectoryCounts:
    return TrajectoryCounts(
        rows=trajectory.rows,
        blocks=trajectory.blocks,
        checkpoints=trajectory.num_checkpoints,
        checkpoints_done=trajectory.checkpoints_done,
        rows_done=trajectory.rows_done,
    )


def _checkpoint(kept: KeptCheckpoint, *, own: bool) -> TrajectoryCheckpointView:
    # A folder of somebody's machine is not for everyone to read; its last name tells the owner which it is.
    weights = PurePath(kept.folder).name if own and kept.folder else kept.folder
    return TrajectoryCheckpointView(
        position=kept.position,
        step=kept.step,
        epoch=kept.epoch,
        point=kept.point,
        blocks_done=kept.blocks_done,
        mean_loss=None if kept.mean_loss is None else round(kept.mean_loss, 6),
        weights=weights,
    )


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
