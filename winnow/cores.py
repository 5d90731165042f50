"""How many cores there are to compute on."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Cores that this process may use, which are fewer than the machine has where it is pinned to some of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
