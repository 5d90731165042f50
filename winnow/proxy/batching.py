"""Which spans are computed together: a pure function of their lengths and a token budget.

Nothing else may decide it, no worker, timing or thread: float sums depend on how rows are batched, and equal runs must
have equal scores.
"""

from __future__ import annotations

from collections.abc import Sequence


def plan(lengths: Sequence[int], *, token_budget: int) -> list[list[int]]:
    """Batches of positions in `lengths`, longest first, ties by position.

    A batch is padded to its longest span, so it costs `longest * spans`; that stays within `token_budget`, except for a
    span that is longer by itself, which makes a batch of its own. Longest first: memory runs out at once or never, and
    an estimate of the time left errs on the safe side.
    """
    batches: list[list[int]] = []
    room = 0
    for position in sorted(range(len(lengths)), key=lambda at: (-lengths[at], at)):
        if room < 1:
            batches.append([])
            room = max(1, token_budget // max(1, lengths[position]))
        batches[-1].append(position)
        room -= 1
    return batches
