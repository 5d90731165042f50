"""A batch as a rectangle: every scored token is asked about once, behind the one before it."""

from __future__ import annotations

import numpy as np

from winnow.proxy.engine import Span, SpanLoss
from winnow.proxy.padding import FlatSpans

SPANS = [
    Span(tokens=[10, 11, 12, 13], start=2),
    Span(tokens=(20, 21), start=1),
    Span(tokens=[30, 31, 32], start=1),
]


def test_the_last_token_is_not_read_and_short_spans_are_padded() -> None:
    flat = FlatSpans(SPANS)
    assert flat.lengths == [3, 1, 2]
    assert flat.batch([2, 0]).ids_BT.tolist() == [[30, 31, 0], [10, 11, 12]]


def test_each_scored_token_is_asked_about_behind_the_one_before_it() -> None:
    batch = FlatSpans(SPANS).batch([2, 0, 1])
    read = batch.ids_BT.ravel()[batch.flat_N]
    assert list(zip(read.tolist(), batch.targets_N.tolist(), strict=True)) == [
        (30, 31), (31, 32), (11, 12), (12, 13), (20, 21),
    ]  # fmt: skip
    assert batch.counts_B.tolist() == [2, 2, 1]


def test_losses_are_summed_span_by_span_in_float64() -> None:
    batch = FlatSpans(SPANS).batch([2, 0, 1])
    tokens = np.array([2**24, 1, 0.25, 0.5, 3], dtype=np.float32)
    assert batch.losses(tokens) == [
        SpanLoss(nll=2.0**24 + 1, num_tokens=2),
        SpanLoss(nll=0.75, num_tokens=2),
        SpanLoss(nll=3.0, num_tokens=1),
    ]


def test_spans_with_ids_beyond_the_vocabulary_are_found() -> None:
    assert FlatSpans(SPANS).beyond(21) == [1, 2]
    assert FlatSpans([]).beyond(21) == []
