"""A Winnow service over HTTP: what curl does, with files streamed, waiting built in, and errors as exceptions.

    from winnow.client import Client

    with Client("http://127.0.0.1:8000") as winnow:
        run = winnow.wait(winnow.score("data.jsonl"))
        winnow.download("subset.jsonl", run=run.id, ratio=0.1)
        report = winnow.trust(dataset=run.dataset, target="a-larger-model")
        job = winnow.fine_tune(training_file=f"subset:{run.id}?ratio=0.1")
        winnow.download_result(winnow.wait_for_job(job), "adapter")

Every method raises the `WinnowError` that the service named (`winnow.errors`), `ServiceUnreachable` if nothing answers,
and `ServiceError` for an error that has no class here. The routes under `/v1` are OpenAI's: its own client drives them
too.
"""

from __future__ import annotations

from typing import Any

from winnow.client.connection import DEFAULT_URL
from winnow.client.fine_tunes import FineTunes
from winnow.client.labelling import Labelling
from winnow.client.subsets import Subset, Subsets
from winnow.client.trajectories import Trajectories
from winnow.client.trust import TrustChecks
from winnow.client.values import (
    Counts,
    Data,
    Dataset,
    Download,
    Estimate,
    File,
    FineTune,
    FineTuneOptions,
    Problem,
    Run,
    Sample,
    ScoreOptions,
    ScoresFileOptions,
    SelectionOptions,
    SubsetOptions,
    Training,
    Trajectory,
    TrajectoryCheckpoint,
    TrajectoryCounts,
    TrajectoryTraining,
    Trust,
    TrustOptions,
    UploadOptions,
)
from winnow.client.webhooks import Webhooks

__all__ = [
    "DEFAULT_URL",
    "Client",
    "Counts",
    "Data",
    "Dataset",
    "Download",
    "Estimate",
    "File",
    "FineTune",
    "FineTuneOptions",
    "Problem",
    "Run",
    "Sample",
    "ScoreOptions",
    "ScoresFileOptions",
    "SelectionOptions",
    "Subset",
    "SubsetOptions",
    "Training",
    "Trajectory",
    "TrajectoryCheckpoint",
    "TrajectoryCounts",
    "TrajectoryTraining",
    "Trust",
    "TrustOptions",
    "UploadOptions",
]


class Client(TrustChecks, Subsets, Trajectories, FineTunes, Labelling, Webhooks):
    """A connection to one service; use it as a context manager, or call `close`.

    Safe to share between threads. `api_key` is what `winnow keys create` printed; an embedded service needs none.
    """

    def models(self) -> list[dict[str, Any]]:
        """What may be used, and which workers offer it now; the models that you fine-tuned too."""
        models: list[dict[str, Any]] = self._json("GET", "/models")["data"]
        return models
