"""Hardness transfers down to winnow-mini: its own trajectory against the published ones of larger models.

Three epochs on 10,000 records of Alpaca, which winnow-mini never saw, by Winnow's own training and evaluation; P0,
LP(1) and approx against the published columns, beside what opt-350m's own reach. Checkpoints are evaluated as they
come, and the losses of each kept, so that a broken-off measurement goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.reproduce.place import Place, absent, markdown, number, read_examples
from benchmarks.reproduce.published import (
    Ranking,
    epochs_only,
    first_perplexity,
    read_published,
    scores,
)
from benchmarks.reproduce.ranking import Floats
from winnow.evaluation import evaluate_blocks
from winnow.proxy.models import resolve
from winnow.proxy.torch_engine import TorchEngine
from winnow.records.example import BLOCK_ROWS, Example, Flag
from winnow.scores import FLAG_BITS
from winnow.spec import RunSpec
from winnow.training.events import Prepared, TrainingEvent
from winnow.training.local import train_trajectory
from winnow.trajectory import TrajectoryLosses

RECORDS = 10_000
TARGETS = ("opt-350m", "llama2-7b", "llama2-13b")
SMALLEST = TARGETS[0]
OURS = "winnow-mini"
EPOCHS = 3
# Only the ends of epochs are read, so one point, at the last of them, is enough.
SPEC = RunSpec.make(method="learning_percentage", embeddings=False, points=1, n_epochs=EPOCHS)
HYPERPARAMETERS = "hyperparameters.json"


def section(place: Place) -> str:
    """Train, evaluate and compare."""
    records = place.data / "alpaca_head.jsonl"
    columns = place.data / "small2large_ppl_alpaca_head.npz"
    if missing := absent(records, columns):
        return missing
    folder = place.folder("transfer_mini")
    losses = trajectory(folder, read_examples(records, RECORDS), place.threads)
    theirs = read_published(columns, RECORDS)
    return f"{_setting(folder, losses)}\n\n{_table(losses, theirs)}"


def trajectory(folder: Path, examples: list[Example], threads: int) -> TrajectoryLosses:
    """The losses at the ends of epochs, those that are not in the folder computed first."""
    files = [folder / f"losses-{epoch}.parquet" for epoch in range(EPOCHS + 1)]
    if not files[0].exists():
        _evaluate(resolve(SPEC.model), examples, files[0], threads)
    if not all(file.exists() for file in files):
        _train(folder, examples, files, threads)
    return TrajectoryLosses.join(epochs_only(len(files)), [pq.read_table(file) for file in files])


def _train(folder: Path, examples: list[Example], files: list[Path], threads: int) -> None:
    def on_event(event: TrainingEvent) -> None:
        if isinstance(event, Prepared):
            (folder / HYPERPARAMETERS).write_text(json.dumps(event.hyperparameters))

    job = folder / "job"
    base = resolve(SPEC.model)
    for kept in train_trajectory(
        job, examples, spec=SPEC, base_folder=base, threads=threads, on_event=on_event
    ):
        if kept.epoch is not None and not files[kept.epoch].exists():
            _evaluate(job / kept.folder, examples, files[kept.epoch], threads)
        shutil.rmtree(job / kept.folder)
    shutil.rmtree(job)


def _evaluate(model: Path, examples: list[Example], file: Path, threads: int) -> None:
    engine = TorchEngine(model, device="cpu", threads=threads, token_budget=SPEC.token_budget)
    blocks = [examples[at : at + BLOCK_ROWS] for at in range(0, len(examples), BLOCK_ROWS)]
    batches = evaluate_blocks(blocks, engine=engine, spec=SPEC, on_rows=lambda _: None)
    written = file.with_suffix(".part")
    pq.write_table(pa.Table.from_batches(list(batches)), written)
    written.replace(file)


def _setting(folder: Path, losses: TrajectoryLosses) -> str:
    chosen = json.loads((folder / HYPERPARAMETERS).read_text())
    means = np.nanmean(losses.mean_losses, axis=1)
    table = scores(losses)
    unlearned = np.count_nonzero(table.flags & FLAG_BITS[Flag.UNLEARNED])
    return (
        f"{EPOCHS} epochs on {len(losses.rows):,} records, batch {chosen['batch_size']}, learning rate "
        f"{chosen['learning_rate']} (chosen by `auto`); mean answer loss "
        f"{' -> '.join(f'{mean:.3f}' for mean in means)} nats before training and after each epoch; "
        f"{len(table) - table.num_scored} rows rejected, {unlearned} unlearned."
    )


def _table(ours: TrajectoryLosses, theirs: dict[str, TrajectoryLosses]) -> str:
    tokens = ours.num_tokens.astype(np.float64)
    draw = np.random.default_rng(42).random(len(tokens))
    lines = []
    for name, read in _FIGURES.items():
        for target in TARGETS:
            rows = {OURS: read(ours)}
            if target != SMALLEST:
                rows[SMALLEST] = read(theirs[SMALLEST])
            rows["answer length, negated"] = Ranking.of_values(-tokens)
            rows["random"] = Ranking.of_values(draw)
            wanted = read(theirs[target])
            lines += [
                [name, target, who, *_cells(row, wanted, tokens)] for who, row in rows.items()
            ]
    return markdown(
        ["figure", "of", "ranked by", "Spearman", "partial on log answer tokens", "lowest tenth"],
        lines,
    )


def _cells(row: Ranking, wanted: Ranking, tokens: Floats) -> list[str]:
    found = row.transfer(wanted, tokens)
    return [number(found.spearman), found.interval, number(row.overlap(wanted))]


_FIGURES: dict[str, Callable[[TrajectoryLosses], Ranking]] = {
    "P0": lambda losses: Ranking.of_values(first_perplexity(losses)),
    "LP(1)": lambda losses: Ranking.of_scores(scores(losses)),
    "approx": lambda losses: Ranking.of_scores(scores(losses, "approx")),
}
