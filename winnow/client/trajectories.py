"""Trajectories: the losses of a dataset while a proxy is fine-tuned on it, which runs of two methods share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from winnow.client.connection import Connection, format_of
from winnow.client.values import TRAJECTORY, Trajectory


class Trajectories(Connection):
    """`/trajectories`."""

    def trajectory(self, trajectory_id: str) -> Trajectory:
        """One trajectory, as it is now; `Run.trajectory` names that of a run."""
        return TRAJECTORY.validate_python(self._json("GET", f"/trajectories/{trajectory_id}"))

    def trajectories(
        self, *, dataset: str | None = None, status: str | None = None
    ) -> Iterator[Trajectory]:
        """Your trajectories, the newest first."""
        pages = self._pages("/trajectories", key="id", dataset=dataset, status=status)
        return (TRAJECTORY.validate_python(item) for item in pages)

    def cancel_trajectory(self, trajectory_id: str) -> Trajectory:
        """Stop a trajectory, and the runs that wait for it."""
        stopped = self._json("POST", f"/trajectories/{trajectory_id}/cancel")
        return TRAJECTORY.validate_python(stopped)

    def delete_trajectory(self, trajectory_id: str) -> None:
        """Take a trajectory, its losses and its kept weights away; runs that have read it keep their scores.

        Raises:
            Conflict: a run that is not over uses it.
        """
        self._json("DELETE", f"/trajectories/{trajectory_id}")

    def trajectory_events(self, trajectory_id: str) -> Iterator[dict[str, Any]]:
        """What happened to a trajectory so far, in order: `seq`, `type`, `message`, `data`, `created_at`."""
        return self._pages(f"/trajectories/{trajectory_id}/events", key="seq")

    def losses(self, trajectory_id: str) -> Iterator[dict[str, Any]]:
        """A dictionary for every row of a completed trajectory, in order: `loss_{step}` in nats per token, or a reason.

        Raises:
            TrajectoryNotReady: not every checkpoint is evaluated.
        """
        return self._lines(f"/trajectories/{trajectory_id}/losses", {"format": "jsonl"})

    def download_losses(self, path: Path | str, trajectory_id: str) -> Path:
        """Write these losses to a file; its suffix (parquet, jsonl or csv) decides the format.

        Raises:
            TrajectoryNotReady: not every checkpoint is evaluated.
        """
        target = Path(path)
        params = {"format": format_of(target)}
        self._download(f"/trajectories/{trajectory_id}/losses", target, params)
        return target
