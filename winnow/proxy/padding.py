"""Spans of a batch as one rectangle of ids, and where in it a token is scored.

Padding stands to the right of a span, where causal attention never looks: any id will do, and no mask is needed.

A name ends in its shape: S spans, B spans of a batch, T tokens, N scored tokens of a batch.
"""
# ruff: noqa: N803, N806, N815

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from winnow.proxy.engine import Span, SpanLoss

Ids = npt.NDArray[np.int64]

PADDING = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedBatch:
    """What a model reads of some spans, and what it is asked about.

    `flat_N` are the scored positions, `row * T + column`, span after span; behind each the model shall see `targets_N`.
    `counts_B` says how many of them each span has.
    """

    ids_BT: Ids
    flat_N: Ids
    targets_N: Ids
    counts_B: Ids

    def losses(self, losses_N: npt.NDArray[np.float32]) -> list[SpanLoss]:
        """The loss of each span from those of its tokens, summed in float64."""
        ends = np.cumsum(self.counts_B)
        nll = np.add.reduceat(losses_N.astype(np.float64), ends - self.counts_B)
        return [
            SpanLoss(nll=total, num_tokens=count)
            for total, count in zip(nll.tolist(), self.counts_B.tolist(), strict=True)
        ]


class FlatSpans:
    """The tokens of many spans in one array, from which batches are cut without a loop over tokens."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._sizes_S = np.array([len(span.tokens) for span in spans], dtype=np.int64)
        self._starts_S = np.array([span.start for span in spans], dtype=np.int64)
        self._begins_S = np.cumsum(self._sizes_S) - self._sizes_S
        self._tokens = np.fromiter(
            chain.from_iterable(span.tokens for span in spans), np.int64, int(self._sizes_S.sum())
        )

    @property
    def lengths(self) -> list[int]:
        """How many tokens a model reads of each span: the last one is predicted, never read."""
        return (self._sizes_S - 1).tolist()  # type: ignore[no-any-return]

    def beyond(self, vocabulary: int) -> list[int]:
        """Positions of spans with a token that a vocabulary of this size does not have."""
        if not len(self._tokens):
            return []
        highest_S = np.maximum.reduceat(self._tokens, self._begins_S)
        return np.flatnonzero(highest_S >= vocabulary).tolist()

    def batch(self, positions: Sequence[int]) -> PaddedBatch:
        """The spans at these positions, which have a scored token each."""
        at = np.array(positions, dtype=np.int64)
        lengths_B1, starts_B1, begins_B1 = (
            part[at, None] for part in (self._sizes_S - 1, self._starts_S, self._begins_S)
        )
        columns_T = np.arange(lengths_B1.max())
        read_BT = columns_T < lengths_B1
        ids_BT = np.full(read_BT.shape, PADDING, dtype=np.int64)
        ids_BT[read_BT] = self._tokens[(begins_B1 + columns_T)[read_BT]]
        scored_BT = read_BT & (columns_T >= starts_B1 - 1)
        return PaddedBatch(
            ids_BT=ids_BT,
            flat_N=np.flatnonzero(scored_BT),
            targets_N=self._tokens[(begins_B1 + columns_T + 1)[scored_BT]],
            counts_B=scored_BT.sum(axis=1),
        )
