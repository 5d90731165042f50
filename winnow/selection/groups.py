"""How many rows each group gives: equal parts, or parts in proportion to the groups.

    equal_shares        smallest group first, each `remaining // groups left`, or all it has (S2L, arXiv 2403.07384)
    largest_remainder   in proportion to the sizes; what rounding leaves goes to the largest remainders

Groups are labels, one a row; positions are those of the arrays handed in. Ties go to the group that comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Positions = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int32]

NUM_LENGTH_STRATA = 10


def members(labels: Labels) -> list[Positions]:
    """Positions of each group, ascending, groups in the order of their labels."""
    order = np.argsort(labels, kind="stable")
    borders = np.flatnonzero(np.diff(labels[order])) + 1
    return [part for part in np.split(order, borders) if len(part)]


def equal_shares(sizes: Sequence[int], k: int) -> list[int]:
    """At most `min(k, sum(sizes))` shared out as evenly as the sizes allow."""
    shares = [0] * len(sizes)
    remaining = k
    for at, group in enumerate(sorted(range(len(sizes)), key=lambda group: (sizes[group], group))):
        shares[group] = min(sizes[group], remaining // (len(sizes) - at))
        remaining -= shares[group]
    return shares


def largest_remainder(sizes: Sequence[int], k: int) -> list[int]:
    """Exactly `min(k, sum(sizes))` shared out in proportion to `sizes`."""
    total = sum(sizes)
    k = min(k, total)
    exact = [Fraction(k * size, total) for size in sizes] if total else []
    shares = [share.numerator // share.denominator for share in exact]
    by_remainder = sorted(
        range(len(shares)), key=lambda group: (shares[group] - exact[group], group)
    )
    for group in by_remainder[: k - sum(shares)]:
        shares[group] += 1
    return shares


def source_labels(sources: pa.ChunkedArray) -> Labels:
    """A label for each row's source, in the order of their names; rows that name none are the last group."""
    names = pc.array_sort_indices(pc.unique(sources).drop_null())
    ordered = pc.unique(sources).drop_null().take(names)
    found = pc.index_in(sources, value_set=ordered).fill_null(len(ordered))
    return np.asarray(found.to_numpy(), dtype=np.int32)


def length_labels(tokens: npt.NDArray[np.float64]) -> Labels:
    """Which tenth of the rows each belongs to by its number of answer tokens; NaN where a row has none."""
    known = tokens[~np.isnan(tokens)]
    if not len(known):
        return np.zeros(len(tokens), dtype=np.int32)
    borders = np.quantile(known, np.arange(1, NUM_LENGTH_STRATA) / NUM_LENGTH_STRATA)
    return np.searchsorted(borders, tokens, side="right").astype(np.int32)
