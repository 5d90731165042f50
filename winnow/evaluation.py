"""The losses of rows at one checkpoint of a fine-tune: exactly the tokens that it learned, answer and EOS.

Rows are encoded as training encodes them (`winnow.training.encode`), so what is measured is what was trained. Not
covered: what the losses of all checkpoints say of a row (`winnow.trajectory`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

import pyarrow as pa

from winnow.ahead import one_ahead
from winnow.proxy.engine import Engine, Span, SpanLoss
from winnow.records.example import Example, Flag, Rejection, RejectionReason
from winnow.scores import pack_flags
from winnow.scoring import distinct_losses, total, window
from winnow.spec import RunSpec
from winnow.training.encode import EncodedCompletion, encode_completion
from winnow.trajectory import LOSS_SCHEMA


class Encoded(NamedTuple):
    """A row as training encodes it; `blank`: its answers are nothing but white space."""

    completion: EncodedCompletion
    blank: bool

    @property
    def spans(self) -> list[Span]:
        """What is computed to find the loss of its learned tokens."""
        return [span for sequence in self.completion.sequences for span in sequence.spans]


def evaluate_blocks(
    blocks: Iterable[Sequence[Example | Rejection]],
    *,
    engine: Engine,
    spec: RunSpec,
    on_rows: Callable[[int], None],
) -> Iterator[pa.RecordBatch]:
    """What `evaluate_block` finds for each block; the next one is read and encoded while one is computed.

    `on_rows` hears how many rows are done of all blocks together. Raises what `evaluate_block` does.
    """
    num_before = 0

    def on_rows_of_block(num_done: int) -> None:
        on_rows(num_before + num_done)

    with closing(one_ahead(encode_answers(rows, engine, spec) for rows in blocks)) as ahead:
        for encoded in ahead:
            yield _evaluate(encoded, engine, on_rows_of_block)
            num_before += len(encoded)


def evaluate_block(
    rows: Sequence[Example | Rejection],
    *,
    engine: Engine,
    spec: RunSpec,
    on_rows: Callable[[int], None],
) -> pa.RecordBatch:
    """The loss of each row over its learned tokens, or why it has none, as a batch of `LOSS_SCHEMA` in their order.

    `engine` holds the weights of the checkpoint. `on_rows` hears, after each batch, about how many rows are done; what
    it raises stops the work. Losses computed in smaller batches than planned, since memory ran out, are flagged.

    Raises:
        InvalidOption: the tokenizer lacks what the template needs.
        EngineError: the engine failed.
    """
    return _evaluate(encode_answers(rows, engine, spec), engine, on_rows)


def encode_answers(
    rows: Sequence[Example | Rejection], engine: Engine, spec: RunSpec
) -> list[Encoded | Rejection]:
    """Each row as training encodes it, in the order given; rejections stay what they are.

    Raises:
        InvalidOption: the tokenizer lacks what the template needs.
    """
    completions = iter(
        encode_completion(
            [row for row in rows if isinstance(row, Example)],
            engine.tokenizer,
            template=spec.template,
            window=window(engine, spec),
        )
    )
    return [
        row if isinstance(row, Rejection) else _told_blank(row, next(completions)) for row in rows
    ]


def _told_blank(example: Example, outcome: EncodedCompletion | Rejection) -> Encoded | Rejection:
    if isinstance(outcome, Rejection):
        return outcome
    answers = [turn.content for turn in example.turns if turn.role == "assistant"]
    return Encoded(outcome, blank=not any(map(str.strip, answers)))


def _evaluate(
    outcomes: Sequence[Encoded | Rejection], engine: Engine, on_rows: Callable[[int], None]
) -> pa.RecordBatch:
    encoded = [row for row in outcomes if isinstance(row, Encoded)]
    num_rejected = len(outcomes) - len(encoded)
    found, replanned = distinct_losses(
        [row.spans for row in encoded],
        engine=engine,
        on_rows=lambda num_done: on_rows(num_rejected + num_done),
    )
    losses = iter(found)
    lines = [
        _rejected(row)
        if isinstance(row, Rejection)
        else _line(row, total(next(losses)), replanned=replanned)
        for row in outcomes
    ]
    return pa.RecordBatch.from_pylist(lines, schema=LOSS_SCHEMA)


def _rejected(row: Rejection) -> dict[str, object]:
    return {"row": row.row, "flags": 0, "reason": row.reason, "detail": row.detail}


def _line(row: Encoded, loss: SpanLoss, *, replanned: bool) -> dict[str, object]:
    number = row.completion.row
    if not math.isfinite(loss.nll):
        detail = (
            f"The proxy's loss is {loss.mean}. Lower learning_rate if training did it; a row that stays so is text "
            "that the model cannot read."
        )
        reason = RejectionReason.NON_FINITE_LOSS
        return {"row": number, "flags": 0, "reason": reason, "detail": detail}
    flags = {
        Flag.TRUNCATED: row.completion.cut,
        Flag.BLANK_ANSWER: row.blank,
        Flag.REPLANNED: replanned,
    }
    return {
        "row": number,
        "nll": loss.nll,
        "num_tokens": loss.num_tokens,
        "flags": pack_flags(flag for flag, applies in flags.items() if applies),
    }
