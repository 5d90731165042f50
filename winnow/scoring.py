"""A block of rows in, a score or a rejection for each of them out.

The same code scores a block in a worker, in the embedded service and on the command line; nothing here knows which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from itertools import islice
from operator import add

from winnow.errors import InvalidOption
from winnow.methods.ifd import ifd, loss_ratio
from winnow.proxy.encoding import EncodedRow, encode_block
from winnow.proxy.engine import Engine, SpanLoss
from winnow.records.example import Example, Rejection, RejectionReason
from winnow.scores import SCORE_DECIMALS, RowScore
from winnow.spec import RunSpec


def window(engine: Engine, spec: RunSpec) -> int:
    """The longest span of a run, in tokens: the model's window, or less if the run asks for it.

    Raises:
        InvalidOption: the run asks for more.
    """
    if spec.max_length is None:
        return engine.window
    if spec.max_length > engine.window:
        raise InvalidOption(
            f"max_length {spec.max_length} is more than the {engine.window} tokens of {spec.model}.",
            param="max_length",
        )
    return spec.max_length


def score_block(
    rows: Sequence[Example | Rejection],
    *,
    engine: Engine,
    spec: RunSpec,
    on_rows: Callable[[int], None],
) -> list[RowScore]:
    """Score rows together; one outcome for each, in the order given.

    `on_rows` hears, after each batch, about how many of the rows are done; it ends at `len(rows)`, never goes back, and
    what it raises stops the work.

    Raises:
        InvalidOption: the model lacks what the run's options need.
        EngineError: the engine failed.
    """
    outcomes = _encode(rows, engine, spec)
    encoded = [outcome for outcome in outcomes if isinstance(outcome, EncodedRow)]
    spans = [span for row in encoded for span in (*row.conditioned, *row.direct)]
    num_rejected = len(rows) - len(encoded)
    if not spans:
        on_rows(len(rows))

    def on_batch(num_spans: int) -> None:
        on_rows(num_rejected + len(encoded) * num_spans // len(spans))

    losses = iter(engine.losses(spans, on_batch=on_batch))
    return [
        _score(outcome, losses, spec)
        if isinstance(outcome, EncodedRow)
        else RowScore(row=outcome.row, reason=outcome.reason, detail=outcome.detail)
        for outcome in outcomes
    ]


def _encode(
    rows: Sequence[Example | Rejection], engine: Engine, spec: RunSpec
) -> list[EncodedRow | Rejection]:
    examples = [row for row in rows if isinstance(row, Example)]
    encoded = iter(
        encode_block(
            examples,
            engine.tokenizer,
            template=spec.template,
            convention=spec.convention,
            window=window(engine, spec),
        )
    )
    return [row if isinstance(row, Rejection) else next(encoded) for row in rows]


def _score(row: EncodedRow, losses: Iterator[SpanLoss], spec: RunSpec) -> RowScore:
    """The score of a row; takes the losses of its spans from the front of `losses`."""
    conditioned = _total(islice(losses, len(row.conditioned)))
    direct = _total(islice(losses, len(row.direct)))
    statistic = loss_ratio if spec.statistic == "loss_ratio" else ifd
    score = round(statistic(conditioned, direct), SCORE_DECIMALS)
    if not all(map(math.isfinite, (score, conditioned.nll, direct.nll))):
        return RowScore(
            row=row.row,
            reason=RejectionReason.NON_FINITE_LOSS,
            detail=f"The model's loss is {conditioned.mean} with the prompt and {direct.mean} without. "
            "Try dtype=float32; a row that stays so is text that the model cannot read.",
        )
    return RowScore(
        row=row.row, score=score, conditioned=conditioned, direct=direct, flags=row.flags
    )


def _total(losses: Iterable[SpanLoss]) -> SpanLoss:
    return reduce(add, losses)
