"""A block of rows in, a score or a rejection for each of them out.

The same code scores a block in a worker, in the embedded service and on the command line; nothing here knows which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import reduce
from itertools import islice
from operator import add

from winnow.ahead import one_ahead
from winnow.errors import InvalidOption
from winnow.methods.ifd import ifd, loss_ratio
from winnow.proxy.encoding import EncodedRow, encode_block
from winnow.proxy.engine import Engine, Span, SpanLoss
from winnow.proxy.span_cache import NothingKnown, SpanLosses
from winnow.records.example import Example, Flag, Rejection, RejectionReason
from winnow.scores import SCORE_DECIMALS, RowScore
from winnow.spec import RunSpec

SpanKey = tuple[int, ...]
"""Where scoring begins in a span, and its tokens."""

NOTHING_KNOWN = NothingKnown()


def window(engine: Engine, spec: RunSpec) -> int:
    """The longest span of a run, in tokens: the model's window, or less if the run asks for it.

    Raises:
        InvalidOption: the run asks for more; a trajectory takes what there is.
    """
    if spec.max_length is None:
        return engine.window
    if spec.trajectory is not None:
        return min(spec.max_length, engine.window)
    if spec.max_length > engine.window:
        raise InvalidOption(
            f"max_length {spec.max_length} is more than the {engine.window} tokens of {spec.model}.",
            param="max_length",
        )
    return spec.max_length


def score_blocks(
    blocks: Iterable[Sequence[Example | Rejection]],
    *,
    engine: Engine,
    spec: RunSpec,
    on_rows: Callable[[int], None],
    known: SpanLosses = NOTHING_KNOWN,
) -> Iterator[list[RowScore]]:
    """The outcomes of `score_block` for each block; the next one is read and encoded while one is computed.

    `on_rows` hears how many rows are done of all blocks together. Raises what `score_block` does.
    """
    num_before = 0

    def on_rows_of_block(num_done: int) -> None:
        on_rows(num_before + num_done)

    encoded = (encode_rows(rows, engine, spec) for rows in blocks)
    with closing(one_ahead(encoded)) as ahead:
        for outcomes in ahead:
            yield _score_encoded(outcomes, engine, spec, on_rows_of_block, known)
            num_before += len(outcomes)


def score_block(
    rows: Sequence[Example | Rejection],
    *,
    engine: Engine,
    spec: RunSpec,
    on_rows: Callable[[int], None],
    known: SpanLosses = NOTHING_KNOWN,
) -> list[RowScore]:
    """Score rows together; one outcome for each, in the order given. Equal spans, and `known` ones, are computed once.

    `on_rows` hears, after each batch, about how many of the rows are done; it ends at `len(rows)`, never goes back, and
    what it raises stops the work. Where memory ran out, the batches were not those of an equal run: every score of the
    block is flagged `replanned`, and `known` hears of none of its losses.

    Raises:
        InvalidOption: the model lacks what the run's options need.
        EngineError: the engine failed.
    """
    return _score_encoded(encode_rows(rows, engine, spec), engine, spec, on_rows, known)


def _score_encoded(
    outcomes: Sequence[EncodedRow | Rejection],
    engine: Engine,
    spec: RunSpec,
    on_rows: Callable[[int], None],
    known: SpanLosses,
) -> list[RowScore]:
    encoded = [outcome for outcome in outcomes if isinstance(outcome, EncodedRow)]
    num_rejected = len(outcomes) - len(encoded)
    found, replanned = distinct_losses(
        [row.spans for row in encoded],
        engine=engine,
        on_rows=lambda num_done: on_rows(num_rejected + num_done),
        known=known,
    )
    losses = iter(found)
    flags = (Flag.REPLANNED,) if replanned else ()
    return [
        _score(outcome, iter(next(losses)), spec, flags)
        if isinstance(outcome, EncodedRow)
        else RowScore(row=outcome.row, reason=outcome.reason, detail=outcome.detail)
        for outcome in outcomes
    ]


def distinct_losses(
    rows: Sequence[Sequence[Span]],
    *,
    engine: Engine,
    on_rows: Callable[[int], None],
    known: SpanLosses = NOTHING_KNOWN,
) -> tuple[list[list[SpanLoss]], bool]:
    """The losses of the spans of each row, equal ones computed once, and whether memory ran out on the way.

    `on_rows` hears about how many rows are done; `known` hears of what was computed unless memory ran out.

    Raises:
        EngineError: the engine failed.
    """
    keys = [[_key(span) for span in spans] for spans in rows]
    distinct = {
        key: span
        for of_row, spans in zip(keys, rows, strict=True)
        for key, span in zip(of_row, spans, strict=True)
    }
    found = _found(distinct, known)
    missing = {key: span for key, span in distinct.items() if key not in found}
    if not missing:
        on_rows(len(rows))

    def on_batch(num_computed: int) -> None:
        on_rows(len(rows) * (len(found) + num_computed) // len(distinct))

    budgets: list[int] = []
    computed = (
        engine.losses(list(missing.values()), on_batch=on_batch, on_replan=budgets.append)
        if missing
        else []
    )
    kept = [] if budgets else _finite(missing.values(), computed)
    num_found = sum(all(key in found for key in of_row) for of_row in keys)
    known.add(kept, num_rows_found=num_found)
    by_key = found | dict(zip(missing, computed, strict=True))
    return [[by_key[key] for key in of_row] for of_row in keys], bool(budgets)


def encode_rows(
    rows: Sequence[Example | Rejection], engine: Engine, spec: RunSpec
) -> list[EncodedRow | Rejection]:
    """The spans of each row as the run cuts them, in the order given; rejections stay what they are.

    Raises:
        InvalidOption: the model lacks what the run's options need.
    """
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


def _key(span: Span) -> SpanKey:
    return (span.start, *span.tokens)


def _found(spans: Mapping[SpanKey, Span], known: SpanLosses) -> dict[SpanKey, SpanLoss]:
    losses = known.find(list(spans.values()))
    return {key: loss for key, loss in zip(spans, losses, strict=True) if loss is not None}


def _finite(spans: Iterable[Span], losses: Sequence[SpanLoss]) -> list[tuple[Span, SpanLoss]]:
    pairs = zip(spans, losses, strict=True)
    return [(span, loss) for span, loss in pairs if math.isfinite(loss.nll)]


def _score(
    row: EncodedRow, losses: Iterator[SpanLoss], spec: RunSpec, flags: tuple[Flag, ...]
) -> RowScore:
    """The score of a row from the losses of its conditioned spans and then of the direct ones."""
    conditioned = total(islice(losses, len(row.conditioned)))
    direct = total(losses)
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
        row=row.row,
        score=score,
        conditioned=conditioned,
        direct=direct,
        flags=(*row.flags, *flags),
    )


def total(losses: Iterable[SpanLoss]) -> SpanLoss:
    """The loss of several spans as one; there is at least one."""
    return reduce(add, losses)
