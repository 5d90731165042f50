"""Work that waits for somebody else goes on in threads beside the main one, so that it holds up nothing.

A worker does one unit at a time because units compute. Handing a message to a receiver computes nothing and may take
the receiver's whole time limit; a few of them wait beside each other and beside the unit that computes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Aside:
    """At most `size` tasks at a time, in daemon threads: a worker that ends waits for them only as long as it likes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._threads: set[threading.Thread] = set()

    @property
    def full(self) -> bool:
        """Whether `start` would refuse a task; asked by the one thread that starts them, it holds until it does."""
        return len(self._threads) >= self._size

    def start(self, task: Callable[[], None]) -> bool:
        """Let `task` begin at once; False if there is no room, and it is not begun."""
        if self.full:
            return False
        thread = threading.Thread(target=self._run, args=(task,), name="aside", daemon=True)
        self._threads.add(thread)
        thread.start()
        return True

    def close(self, patience_s: float) -> None:
        """Wait until all tasks are done, but no longer than `patience_s` together."""
        deadline = time.monotonic() + patience_s
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, task: Callable[[], None]) -> None:
        try:
            task()
        finally:
            self._threads.discard(threading.current_thread())
