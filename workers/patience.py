"""Computations that say nothing for minutes: they cannot be asked how far they are, but they are no sign of hanging."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from workers.lease import HEARD_WITHIN_S, Lease

Result = TypeVar("Result")


def patiently(lease: Lease, compute: Callable[[], Result]) -> Result:
    """What `compute` returns or raises; the lease is kept alive as long as it takes."""
    with ThreadPoolExecutor(1, "winnow-patience") as thread:
        coming = thread.submit(compute)
        while True:
            try:
                return coming.result(timeout=HEARD_WITHIN_S)
            except TimeoutError:
                if coming.done():
                    raise
                lease.alive()
