"""From a dataset to a model on real input: scored, the best tenth fine-tuned on, fetched, and made to speak by others.

A JSONL file goes through `POST /score`, its best tenth through one epoch of a LoRA of winnow-mini, embedded and on
Postgres and Redis with a training worker of its own. Everything but `/score` is driven by OpenAI's client as it is
published. What is fetched is loaded with plain transformers and peft in a process that knows nothing of Winnow.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from benchmarks.installation import installation
from benchmarks.main_job import Service
from winnow.proxy.models import BUNDLED, resolve

RATIO = "0.1"
OVER = {"succeeded", "failed", "cancelled"}
PROMPT = "Give three tips for staying healthy."

SPEAK = """
import sys
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter, prompt = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(adapter)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
asked = tokenizer(prompt + "\\n", return_tensors="pt")
said = model.generate(**asked, max_new_tokens=24, do_sample=False)[0, asked["input_ids"].shape[1]:]
print(repr(tokenizer.decode(said)))
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one way gave; losses in nats a token, times in seconds."""

    way: str
    rows_read: int
    rows_trained: int
    steps: int
    first_loss: float
    last_loss: float
    scoring_s: float
    training_s: float
    files: int
    said: str

    def row(self) -> str:
        """The outcome as a row of a Markdown table."""
        return (
            f"| {self.way} | {self.rows_read:,} | {self.rows_trained:,} in {self.steps} steps "
            f"| {self.first_loss:.3f}, {self.last_loss:.3f} | {self.scoring_s:,.0f} s, {self.training_s:,.0f} s "
            f"| {self.files} | {self.said} |"
        )


def make_model(http: httpx.Client, client: OpenAI, source: Path, folder: Path, way: str) -> Outcome:
    """The whole road on one installation."""
    started = time.perf_counter()
    run = _scored(http, source)
    scored = time.perf_counter()
    job = client.fine_tuning.jobs.create(
        model=BUNDLED,
        training_file=f"subset:{run['id']}?ratio={RATIO}",
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
    )
    while (job := client.fine_tuning.jobs.retrieve(job.id)).status not in OVER:
        time.sleep(1)
    assert job.status == "succeeded", job.error
    trained = time.perf_counter()
    _fetch(client, job, folder)
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_bytes())
    return Outcome(
        way=way,
        rows_read=run["counts"]["rows"],
        rows_trained=metrics["rows_used"],
        steps=metrics["steps"],
        first_loss=metrics["first_loss"],
        last_loss=metrics["last_loss"],
        scoring_s=scored - started,
        training_s=trained - scored,
        files=len(job.result_files),
        said=_speak(folder),
    )


def _scored(http: httpx.Client, source: Path) -> dict[str, Any]:
    with source.open("rb") as body:
        run: dict[str, Any] = http.post("/score", content=body).raise_for_status().json()
    while run["status"] not in {"completed", "failed"}:
        time.sleep(1)
        run = http.get(f"/runs/{run['id']}").raise_for_status().json()
    assert run["status"] == "completed", run
    return run


def _fetch(client: OpenAI, job: FineTuningJob, folder: Path) -> None:
    for file_id in job.result_files[1:]:
        target = folder / client.files.retrieve(file_id).filename
        target.parent.mkdir(parents=True, exist_ok=True)
        client.files.content(file_id).write_to_file(target)


def _speak(adapter: Path) -> str:
    command = [sys.executable, "-P", "-c", SPEAK, str(resolve(BUNDLED)), str(adapter), PROMPT]
    done = subprocess.run(command, cwd=adapter, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextmanager
def _embedded() -> Iterator[tuple[httpx.Client, OpenAI]]:
    with installation() as running:
        yield running.http, OpenAI(base_url=f"{running.url}/v1", api_key="unused")


@contextmanager
def _service(broker: str) -> Iterator[tuple[httpx.Client, OpenAI]]:
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name, ExitStack() as stack:
        running = Service(Path(name), broker, stack)
        stack.callback(running.broker.flushdb)
        running.start_trainer()
        key = running.http.headers["Authorization"].removeprefix("Bearer ")
        yield running.http, OpenAI(base_url=f"{running.http.base_url}/v1", api_key=key)


def main() -> None:
    """Take the road both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/dolly.jsonl"))
    parser.add_argument("--broker", default="redis://127.0.0.1:6379/9", help="A number to empty.")
    options = parser.parse_args()
    if not options.data.exists():
        print(f"skipped: {options.data} is not here; name a JSONL file with --data")
        return
    print("| way | rows | trained on | first, last loss | scoring, training | files | it says |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for way, started in (
        ("embedded", _embedded()),
        ("Postgres + Redis, a training worker", _service(options.broker)),
    ):
        with started as (http, client), tempfile.TemporaryDirectory() as folder:
            outcome = make_model(http, client, options.data, Path(folder), way)
        print(outcome.row(), flush=True)


if __name__ == "__main__":
    main()
