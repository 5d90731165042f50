"""Which spans are computed together: a pure function of their lengths and a token budget.

Nothing else may decide it, no worker, timing or thread: float sums depend on how rows are batched, and equal runs must
have equal scores.
"""

from __future__ import annotations

from collections.abc import Sequence

MIN_SHARE = 0.9
"""A span shorter than this share of its batch's longest begins a new batch, ..."""
MIN_FILLED = 0.25
"""... if the batch is filled to this share of the budget: a smaller one computes slower than padding costs."""


def plan(lengths: Sequence[int], *, token_budget: int) -> list[list[int]]:
    """Batches of positions in `lengths`, longest first, ties by position.

    A batch is padded to its longest span, so it costs `longest * spans`; that stays within `token_budget`, except for a
    span that is longer by itself, which makes a batch of its own. Where spans are few and their lengths far apart, a
    batch ends before it is full. Longest first: memory runs out at once or never, and an estimate of the time left errs
    on the safe side.
    """
    batches: list[list[int]] = []
    longest = room = 0
    for position in sorted(range(len(lengths)), key=lambda at: (-lengths[at], at)):
        length = max(1, lengths[position])
        if room < 1 or (
            length < MIN_SHARE * longest and len(batches[-1]) * longest >= MIN_FILLED * token_budget
        ):
            batches.append([])
            longest, room = length, max(1, token_budget // length)
        batches[-1].append(position)
        room -= 1
    return batches
