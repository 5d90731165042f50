"""What `bench_mini` asks of the model: P0 and IFD of each record, through the engine that users run.

NaN stands for a record that cannot be scored; the tables leave such records out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.mini_figures import Floats
from winnow.methods.ifd import ifd
from winnow.proxy.encoding import EncodedRow, encode_block
from winnow.proxy.engine import Engine, Span, SpanLoss
from winnow.proxy.templates import alpaca
from winnow.records.example import Example, Turn

P0_WINDOW = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of the dataset and its place there."""

    index: int
    prompt: tuple[Turn, ...]
    answer: str


def log_p0(engine: Engine, records: Sequence[Record]) -> tuple[Floats, Floats]:
    """Mean loss of answer and end-of-text under the `alpaca` prompt, and how many tokens that is."""
    prompts = [alpaca(record.prompt) for record in records]
    wholes = [prompt + record.answer for prompt, record in zip(prompts, records, strict=True)]
    end = engine.tokenizer.eos_id
    assert end is not None
    starts = [len(ids) for ids in engine.tokenizer.encode(prompts)]
    spans = [
        Span(tokens=[*ids, end][:P0_WINDOW], start=start)
        for ids, start in zip(engine.tokenizer.encode(wholes), starts, strict=True)
    ]
    scored = [i for i, span in enumerate(spans) if len(span.tokens) > span.start]
    losses = engine.losses([spans[i] for i in scored], on_batch=_ignore, on_replan=_ignore)
    return _spread(scored, losses, len(records))


def ifd_scores(
    engine: Engine, prompts: Sequence[tuple[Turn, ...]], answers: Sequence[str]
) -> tuple[Floats, Floats]:
    """IFD in the published convention, and the answer tokens that its conditioned pass scores."""
    examples = [
        Example(row=row, turns=(*prompt, Turn(role="assistant", content=answer)))
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    ]
    outcomes = encode_block(
        examples,
        engine.tokenizer,
        template="plain",
        convention="superfiltering",
        window=engine.window,
    )
    rows = [outcome for outcome in outcomes if isinstance(outcome, EncodedRow)]
    conditioned = engine.losses(
        [row.conditioned[0] for row in rows], on_batch=_ignore, on_replan=_ignore
    )
    direct = engine.losses([row.direct[0] for row in rows], on_batch=_ignore, on_replan=_ignore)
    scores, tokens = np.full(len(answers), np.nan), np.zeros(len(answers))
    for row, given, alone in zip(rows, conditioned, direct, strict=True):
        scores[row.row], tokens[row.row] = ifd(given, alone), given.num_tokens
    return scores, tokens


def _spread(places: list[int], losses: list[SpanLoss], count: int) -> tuple[Floats, Floats]:
    means, tokens = np.full(count, np.nan), np.zeros(count)
    means[places] = [loss.mean for loss in losses]
    tokens[places] = [loss.num_tokens for loss in losses]
    return means, tokens


def _ignore(_done: int) -> None:
    """Nobody watches the progress of a benchmark."""
