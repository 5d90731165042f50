"""Losses that earlier runs have computed, known by what a loss depends on.

    key = the first 16 bytes of BLAKE2b(model revision, dtype, engine; start, token ids)

Template, convention and window are in the token ids. The token budget is left out: it moves the last digits of a sum,
which the company that a span has in its block does as well.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Sequence
from typing import Protocol

from winnow.proxy.engine import Span, SpanLoss

KEY_BYTES = 16


class SpanLosses(Protocol):
    """What scoring a block asks and tells about losses that need not be computed again."""

    def find(self, spans: Sequence[Span]) -> Sequence[SpanLoss | None]:
        """The loss of each span, or None where it has to be computed."""

    def add(self, computed: Sequence[tuple[Span, SpanLoss]], *, num_rows_found: int) -> None:
        """Hear, once a block, what may be kept of what was computed, and how many rows needed no computation."""


class NothingKnown:
    """Every loss is computed, and none is kept."""

    def find(self, spans: Sequence[Span]) -> Sequence[SpanLoss | None]:
        """None for each span."""
        return [None] * len(spans)

    def add(self, computed: Sequence[tuple[Span, SpanLoss]], *, num_rows_found: int) -> None:
        """Forget it."""


def span_keys(spans: Sequence[Span], *, revision: str, dtype: str, engine: str) -> list[bytes]:
    """The key of each span under the model files `revision`; without it no text and no token comes back from a key."""
    origin = json.dumps([revision, dtype, engine]).encode()
    model = hashlib.blake2b(origin, digest_size=KEY_BYTES)
    keys = []
    for span in spans:
        digest = model.copy()
        digest.update(array("i", (span.start, *span.tokens)).tobytes())
        keys.append(digest.digest())
    return keys
