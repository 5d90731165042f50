"""How good a proxy is `winnow-mini`? Measured on Alpaca, none of which it was trained on.

    python -m benchmarks.bench_mini [--data FOLDER] [--model NAME] [--records 2000]

Two questions, each beside a baseline that needs no model:
1. Does it rank records as larger models do? P0, the perplexity of answer and end-of-text given the `alpaca` prompt in
   a window of 512 tokens, against the published P0 of opt-350m and llama2-13b: Spearman, and Spearman with the
   logarithm of the answer's tokens partialled out. Baseline: minus answer length.
2. Does it see whether an answer belongs to its prompt? IFD of true answers against the same answers under other prompts
   (a fixed derangement): pooled AUC, and the paired rate IFD(A|Q) < IFD(A|Q'). Baseline: how much of an answer's words,
   weighted by rarity, its prompt contains.

Not covered: what a model fine-tuned on the selected records would gain.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.mini_figures import (
    Floats,
    idf_overlap,
    paired_rate,
    partial_spearman,
    pooled_auc,
    spearman,
)
from benchmarks.mini_losses import Record, ifd_scores, log_p0
from winnow.proxy.engine import Engine
from winnow.proxy.models import BUNDLED, resolve
from winnow.proxy.torch_engine import TorchEngine
from winnow.records.example import Turn

ROOT = Path(__file__).parents[1]
PUBLISHED = ("opt-350m", "llama2-13b")
LENGTHS = (
    ("1 to 8", 1, 8),
    ("9 to 32", 9, 32),
    ("33 to 96", 33, 96),
    ("97 or more", 97, sys.maxsize),
    ("all", 1, sys.maxsize),
)


class Matching(NamedTuple):
    """A figure of every answer under its own prompt, and under another record's."""

    true: Floats
    shuffled: Floats

    def only(self, rows: np.ndarray) -> Matching:
        """The same for some of the records."""
        return Matching(self.true[rows], self.shuffled[rows])


def read_records(file: Path, wanted: int) -> list[Record]:
    """`wanted` records, evenly spaced over the file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:: len(lines) // wanted][:wanted]]
    return [
        Record(
            index=row["index"],
            prompt=tuple(
                Turn(role="user", content=text)
                for text in (row["instruction"], row["input"])
                if text
            ),
            answer=row["output"],
        )
        for row in rows
    ]


def ranking_table(engine: Engine, records: Sequence[Record], published: Path) -> str:
    """Question 1: our P0 against the published ones."""
    p0, tokens = log_p0(engine, records)
    scored = np.isfinite(p0)
    length = np.log(tokens[scored])
    columns = np.load(published)
    lines = [
        f"P0 of {scored.sum()} records:",
        "",
        "| against | Spearman | partial on log answer tokens | Spearman of minus answer length |",
        "| --- | --- | --- | --- |",
    ]
    for name in PUBLISHED:
        theirs = columns[name][0][[record.index for record in records]][scored]
        figures = (
            spearman(p0[scored], theirs),
            partial_spearman(p0[scored], theirs, length),
            spearman(-length, theirs),
        )
        lines.append(f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")
    return "\n".join(lines)


def mismatch_table(engine: Engine, records: Sequence[Record]) -> str:
    """Question 2: true answers against the same answers under another record's prompt."""
    answers = [record.answer for record in records]
    prompts = [record.prompt for record in records]
    half = len(prompts) // 2  # every prompt moves, whatever the number of records
    others = prompts[half:] + prompts[:half]
    true, tokens = ifd_scores(engine, prompts, answers)
    shuffled, _ = ifd_scores(engine, others, answers)
    texts, other_texts = ([_text(prompt) for prompt in some] for some in (prompts, others))
    overlap = Matching(
        idf_overlap(texts, answers, documents=texts + answers),
        idf_overlap(other_texts, answers, documents=texts + answers),
    )
    scores = Matching(true, shuffled)
    scored = np.isfinite(true) & np.isfinite(shuffled)
    lines = [
        "IFD of true answers against the same answers under other prompts:",
        "",
        "| answer tokens | pairs | AUC | paired rate | IFD < 1, true / shuffled | AUC of word overlap |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, low, high in LENGTHS:
        rows = scored & (tokens >= low) & (tokens <= high)
        lines.append(
            f"| {name} | {rows.sum()} | {_mismatch(scores.only(rows), overlap.only(rows))}"
        )
    return "\n".join(lines)


def _mismatch(scores: Matching, overlap: Matching) -> str:
    figures = (
        f"{pooled_auc(scores.true, scores.shuffled):.3f}",
        f"{paired_rate(scores.true, scores.shuffled):.3f}",
        f"{(scores.true < 1).mean():.2f} / {(scores.shuffled < 1).mean():.2f}",
        f"{pooled_auc(-overlap.true, -overlap.shuffled):.3f}",
    )
    return " | ".join(figures) + " |"


def _text(prompt: Sequence[Turn]) -> str:
    return "\n".join(turn.content for turn in prompt)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure a model as a proxy.")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--model", default=BUNDLED)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    file = options.data / "alpaca_head.jsonl"
    if not file.exists():
        print(f"Skipped: there is no {file.name} in {options.data}.")
        return
    records = read_records(file, options.records)
    engine = TorchEngine(resolve(options.model), device="cpu", threads=options.threads)
    published = options.data / "small2large_ppl_alpaca_head.npz"
    print(ranking_table(engine, records, published), flush=True)
    print()
    print(mismatch_table(engine, records), flush=True)


if __name__ == "__main__":
    main()
