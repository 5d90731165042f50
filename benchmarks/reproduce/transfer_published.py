"""Learning percentage transfers between model sizes: the published perplexities, by the published rule and by Winnow's.

Three tables of transfer to llama2-13b, as they are stated with the data and as they come out, and the published
selections found again (`published_subsets`).

The length of an answer is what the published program learns of it: the tokens that it adds to its prompt, which ends
with `### Response:` and no space, and one for its end; here without the cut at 512. Encoded by itself the first word of
an answer may be other tokens, which moves a row of the lowest tenth of Alpaca (0.398 instead of 0.399).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from tokenizers import Tokenizer

from benchmarks.reproduce import published_subsets
from benchmarks.reproduce.place import Place, absent, markdown, number, read_examples
from benchmarks.reproduce.published import (
    Ranking,
    Rows,
    first_perplexity,
    published_lp,
    read_published,
    scores,
)
from benchmarks.reproduce.ranking import Floats
from winnow.proxy.templates import alpaca
from winnow.trajectory import TrajectoryLosses

Stated = tuple[float | None, float | None, float | None]

TARGET = "llama2-13b"
MODELS = ("opt-350m", "opt-1.3b", "opt-6.7b", "llama2-7b")
LENGTH, RANDOM = "answer length, negated", "random"
LENGTH_MEANS = (
    "*Answer length* is the number of tokens (GPT-2's BPE) that an answer adds to its prompt, and one for its end: "
    "what the published program learns of it, without its cut at 512."
)
UNSTATED: Stated = (None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset with published perplexities, and what is stated of them: rho of P0, rho of LP(1), overlap."""

    title: str
    records: str
    columns: str
    stated: dict[str, Stated]
    learned_rows_only: bool = False
    """Whether rows with P0 = 1 in any model are left out."""


DATASETS = (
    Dataset(
        title="Alpaca, the first 26,000 records",
        records="alpaca_head.jsonl",
        columns="small2large_ppl_alpaca_head.npz",
        stated={
            "opt-350m": (0.794, 0.719, 0.326),
            "opt-1.3b": (0.855, 0.770, 0.370),
            "opt-6.7b": (0.885, 0.864, 0.523),
            "llama2-7b": (0.971, 0.958, 0.791),
            LENGTH: (None, 0.847, 0.399),
        },
    ),
    Dataset(
        title="Dolly, all 15,011 records",
        records="dolly.jsonl",
        columns="small2large_ppl_dolly.npz",
        stated={
            "opt-350m": (0.841, 0.699, 0.556),
            "opt-1.3b": (0.873, 0.748, 0.568),
            "opt-6.7b": (0.904, 0.813, 0.638),
            "llama2-7b": (0.988, 0.939, 0.843),
        },
    ),
    Dataset(
        title="Dolly, the records with P0 > 1 in every model",
        records="dolly.jsonl",
        columns="small2large_ppl_dolly.npz",
        stated={
            "opt-350m": (0.842, 0.696, 0.393),
            "opt-1.3b": (0.879, 0.755, 0.426),
            "opt-6.7b": (0.915, 0.829, 0.541),
            "llama2-7b": (0.986, 0.929, 0.716),
            LENGTH: (None, 0.757, 0.353),
        },
        learned_rows_only=True,
    ),
)


def section(place: Place) -> str:
    """All tables, or what is missing for each."""
    parts = [f"### {data.title}\n\n{_transfer_section(place, data)}" for data in DATASETS]
    return "\n\n".join([LENGTH_MEANS, *parts, published_subsets.section(place)])


def _transfer_section(place: Place, data: Dataset) -> str:
    tokenizer = place.tokenizers / "gpt2" / "tokenizer.json"
    records, columns = place.data / data.records, place.data / data.columns
    return absent(records, columns, tokenizer) or _transfer_table(
        data, read_published(columns), answer_tokens(records, tokenizer)
    )


def answer_tokens(records: Path, tokenizer: Path) -> Floats:
    """Tokens of each answer after its prompt by GPT-2's BPE, which the OPT models share, and one for its end."""
    encode = Tokenizer.from_file(str(tokenizer)).encode_batch_fast
    examples = read_examples(records)
    prompts = [alpaca(example.turns[:-1]) for example in examples]
    texts = [
        prompt + example.turns[-1].content
        for prompt, example in zip(prompts, examples, strict=True)
    ]
    whole, before = (
        np.array([len(one.ids) for one in encode(batch)], dtype=np.float64)
        for batch in (texts, prompts)
    )
    return whole - before + 1


def _transfer_table(data: Dataset, models: dict[str, TrajectoryLosses], tokens: Floats) -> str:
    kept = np.arange(len(tokens))
    if data.learned_rows_only:
        kept = np.flatnonzero(np.all([model.nll[0] > 0 for model in models.values()], axis=0))
        models = {name: part_of(model, kept) for name, model in models.items()}
    tokens = tokens[kept]
    columns = {name: Columns.of(model) for name, model in models.items()}
    baselines = {LENGTH: -tokens, RANDOM: np.random.default_rng(42).random(len(kept))}
    columns |= {name: Columns.same(Ranking.of_values(values)) for name, values in baselines.items()}
    rows = [
        [name, *_cells(columns[name], columns[TARGET], data.stated.get(name, UNSTATED), tokens)]
        for name in (*MODELS, *baselines)
    ]
    rules = ("stated", "published rule", "Winnow")
    head = [f"{what}, {rule}" for what in ("rho P0", "rho LP(1)", "overlap") for rule in rules]
    partials = [f"partial {what}, Winnow" for what in ("P0", "LP(1)")]
    table = markdown(["ranked by", *head, *partials], rows)
    return f"{len(kept):,} records. {_traps(models)}\n\n{table}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The rankings of one row of the table: P0 and LP(1), by the published rule and by Winnow's."""

    p0_published: Ranking
    p0: Ranking
    lp_published: Ranking
    lp: Ranking

    @classmethod
    def of(cls, model: TrajectoryLosses) -> Self:
        """Those of a model."""
        return cls(
            p0_published=Ranking.of_values(model.nll[0]),
            p0=Ranking.of_values(first_perplexity(model)),
            lp_published=Ranking.of_values(published_lp(model)),
            lp=Ranking.of_scores(scores(model)),
        )

    @classmethod
    def same(cls, ranking: Ranking) -> Self:
        """One ranking in the place of all."""
        return cls(p0_published=ranking, p0=ranking, lp_published=ranking, lp=ranking)


def _cells(row: Columns, wanted: Columns, stated: Stated, tokens: Floats) -> list[str]:
    first, learned = row.p0.transfer(wanted.p0, tokens), row.lp.transfer(wanted.lp, tokens)
    figures = (
        stated[0],
        row.p0_published.spearman(wanted.p0_published),
        first.spearman,
        stated[1],
        row.lp_published.spearman(wanted.lp_published),
        learned.spearman,
        stated[2],
        row.lp_published.overlap(wanted.lp_published),
        row.lp.overlap(wanted.lp),
    )
    return [*map(number, figures), first.interval, learned.interval]


def _traps(models: dict[str, TrajectoryLosses]) -> str:
    """What the published rule selects although nothing of it was scored."""
    unscored = [np.flatnonzero((model.nll == 0).all(axis=0)) for model in models.values()]
    if not any(map(len, unscored)):
        return "No record has P = 1 throughout."
    shares = [
        float(np.isin(ranking.lowest, rows).mean())
        for ranking, rows in (
            (Ranking.of_values(published_lp(model)), rows)
            for model, rows in zip(models.values(), unscored, strict=True)
        )
    ]
    counts = [len(rows) for rows in unscored]
    return (
        f"No token of the answer was scored (P = 1 throughout) in {min(counts)} to {max(counts)} of them, by model; "
        f"they make up {min(shares):.1%} to {max(shares):.1%} of the published rule's lowest tenth."
    )


def part_of(losses: TrajectoryLosses, rows: Rows) -> TrajectoryLosses:
    """The trajectory of some rows, numbered anew."""
    return replace(
        losses,
        rows=np.arange(len(rows)),
        nll=losses.nll[:, rows],
        num_tokens=losses.num_tokens[rows],
        flags=losses.flags[rows],
        reasons=[losses.reasons[row] for row in rows],
        details=[losses.details[row] for row in rows],
    )
