"""What `include=scores` adds to each record: the member's name, its fields and their types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from winnow.records.blocks import Rows

MEMBER = "winnow"

SCORE_TYPE = pa.struct(
    [
        ("row", pa.int64()),
        ("score", pa.float64()),
        ("loss_conditioned", pa.float64()),
        ("loss_direct", pa.float64()),
        ("tokens_conditioned", pa.int64()),
        ("tokens_direct", pa.int64()),
        ("flags", pa.list_(pa.string())),
    ]
)
"""The fields in their order; CSV and Parquet have exactly these, JSON whatever the mapping holds."""

SCORE_NAMES: list[str] = [field.name for field in SCORE_TYPE]

Scores = Callable[[Rows], Sequence[Mapping[str, Any]]]
"""For a batch of row numbers, the fields of `SCORE_TYPE` for each, as JSON values."""
