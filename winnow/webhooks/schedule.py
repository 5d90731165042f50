"""When a message is sent again: Standard Webhooks' schedule (a setting), spread out, and as the receiver asks."""

from __future__ import annotations

import random
from collections.abc import Sequence

MAX_ATTEMPTS = 32
"""At one message, those too that are lost with their worker."""

JITTER = 0.2
"""A pause is longer by up to this share of it, so that messages that failed together do not come back together."""

THROTTLED = frozenset({429, 502, 504})
"""The receiver, or what stands before it, has too much to do."""

THROTTLED_PAUSE_S = 60.0


def pause_s(
    attempt: int,
    pauses_s: Sequence[float],
    *,
    status_code: int | None = None,
    retry_after_s: float | None = None,
) -> float | None:
    """Seconds until the next attempt after a failed one (the first is 1); None: it was the last.

    The receiver's Retry-After is kept to, whatever the status. Without one, a receiver that says that it has too much
    to do is left alone for a minute at least.
    """
    if attempt > len(pauses_s):
        return None
    asked_s = retry_after_s
    if asked_s is None:
        asked_s = THROTTLED_PAUSE_S if status_code in THROTTLED else 0.0
    pause = max(pauses_s[attempt - 1], asked_s)
    return pause * (1 + random.uniform(0, JITTER))  # noqa: S311  nobody gains by guessing it
