"""Runs: one scoring of a dataset each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Unpack

from winnow.client.connection import (
    PAUSE_S,
    Connection,
    error_of,
    failure,
    format_of,
    idempotency_key,
)
from winnow.client.values import RUN, Data, Run, ScoreOptions, ScoresFileOptions
from winnow.errors import InvalidOption, RunNotUsable


class Runs(Connection):
    """`/score` and `/runs`."""

    def score(
        self,
        data: Data | None = None,
        *,
        dataset: str | None = None,
        **options: Unpack[ScoreOptions],
    ) -> Run:
        """Start a run on new data, or on a `dataset` that is there; it is scored in the background.

        run = client.score("data.jsonl", template="alpaca")
        run = client.score([{"instruction": "Say hi.", "output": "Hi."}])
        run = client.score(pandas.read_csv("data.csv"))
        run = client.score(datasets.load_dataset("yahma/alpaca-cleaned", split="train"))
        run = client.score(dataset="ds_...", dtype="bfloat16")
        run = client.score("data.jsonl", method="s2l", points=12)
        cost = client.wait(client.score("data.jsonl", dry_run=True)).estimate
        """
        if (data is None) == (dataset is None):
            raise InvalidOption("Give either data or dataset=.", param="dataset")
        if data is not None:
            return RUN.validate_python(self._upload("/score", data, options))
        body = {"dataset": dataset, **options}
        return RUN.validate_python(
            self._json("POST", "/score", json=body, headers=idempotency_key())
        )

    def run(self, run_id: str) -> Run:
        """One run, as it is now."""
        return RUN.validate_python(self._json("GET", f"/runs/{run_id}"))

    def runs(self, *, dataset: str | None = None, status: str | None = None) -> Iterator[Run]:
        """Your runs, the newest first."""
        pages = self._pages("/runs", key="id", dataset=dataset, status=status)
        return (RUN.validate_python(item) for item in pages)

    def wait(
        self,
        run: Run | str,
        *,
        on_progress: Callable[[Run], None] = lambda _: None,
        timeout_s: float | None = None,
    ) -> Run:
        """Ask until the run is completed; `on_progress` hears every answer. A service that restarts is waited for.

        Raises:
            WinnowError: the run failed, with its code and message; `RunNotUsable` if it was cancelled.
            TimeoutError: it took longer than `timeout_s`.
        """
        run_id = run if isinstance(run, str) else run.id
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            now = self.run(run_id)
            on_progress(now)
            if now.status == "completed":
                return now
            if now.error is not None:
                raise error_of(now.error.code, now.error.message)
            if now.status in {"failed", "cancelled"}:
                raise RunNotUsable(f"The run {run_id} was {now.status}.")
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"the run {run_id} is still {now.status} after {timeout_s:g} s")
            time.sleep(PAUSE_S)

    def cancel(self, run_id: str) -> Run:
        """Stop a run; what was scored so far is not used."""
        return RUN.validate_python(self._json("POST", f"/runs/{run_id}/cancel"))

    def delete_run(self, run_id: str) -> None:
        """Take a run and its scores away."""
        self._json("DELETE", f"/runs/{run_id}")

    def events(self, run_id: str) -> Iterator[dict[str, Any]]:
        """What happened to a run so far, in order: `seq`, `type`, `message`, `data`, `created_at`."""
        return self._pages(f"/runs/{run_id}/events", key="seq")

    def scores(self, run_id: str) -> Iterator[dict[str, Any]]:
        """A dictionary for every row of a completed run, in order: scored, or rejected with its reason.

        frame = pandas.DataFrame(client.scores(run.id)).set_index("row")
        """
        return self._lines(f"/runs/{run_id}/scores", {"format": "jsonl"})

    def download_scores(
        self, path: Path | str, run_id: str, **options: Unpack[ScoresFileOptions]
    ) -> Path:
        """Write the scores of a completed run to a file; its suffix (jsonl, csv or parquet) decides the format.

        client.download_scores("scores.parquet", run.id)
        client.download_scores("tasks.json", run.id, format="label_studio", ratio=0.1)
        """
        target = Path(path)
        self._download(f"/runs/{run_id}/scores", target, {"format": format_of(target), **options})
        return target

    def agreement(self, run_id: str, other_id: str) -> dict[str, Any]:
        """How far two completed runs over one dataset rank its rows alike, beside what answer length explains."""
        return self._json("GET", f"/runs/{run_id}/agreement/{other_id}")

    def histogram(self, run_id: str, **options: Any) -> dict[str, Any]:
        """How the scores of a run lie, in bins."""
        return self._json("GET", f"/runs/{run_id}/histogram", params=options)

    def report(self, run: Run | str) -> str:
        """A completed run as one file of HTML to send around.

        Path("report.html").write_text(client.report(run), encoding="utf-8")
        """
        run_id = run if isinstance(run, str) else run.id
        with self._stream(f"/runs/{run_id}/report", {}) as response:
            if not response.is_success:
                raise failure(response)
            return response.read().decode()
