"""Signs of life: what computes for long says so now and then, since a worker takes long silence for a hang."""

from __future__ import annotations

import time
from collections.abc import Callable

from winnow.training.events import Alive, TrainingEvent

ALIVE_EVERY_S = 5.0


class Pulse:
    """Called after each piece of work, however small; says `Alive` at most every `ALIVE_EVERY_S`."""

    def __init__(self, say: Callable[[TrainingEvent], None]) -> None:
        self._say = say
        self._said_at = time.monotonic()

    def __call__(self, phase: str) -> None:
        """A piece of `phase` is done."""
        now = time.monotonic()
        if now - self._said_at >= ALIVE_EVERY_S:
            self._say(Alive(phase=phase))
            self._said_at = now
