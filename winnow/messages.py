"""What the gateway and the workers agree on: queues, the one task, its one argument.

The database is the truth; a message only says that a unit of work may be there. Losing one costs seconds, getting one
twice costs a query.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

RUN_WORK = "winnow.run_work"
"""The Celery task. Its one argument is the id of a row in `work`."""

QUEUE_IO = "io"
QUEUE_SCORE = "score"
QUEUE_TRAIN = "train"
QUEUES = (QUEUE_IO, QUEUE_SCORE, QUEUE_TRAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A proxy model as one worker can run it. Scoring work is routed to workers that offer exactly this."""

    engine: str
    model: str
    dtype: str

    @property
    def queue(self) -> str:
        """The queue for scoring work that needs this offer: readable, and safe as a Redis key or a file name."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.model.lower()).strip("-")[-40:]
        digest = hashlib.sha256(self.model.encode()).hexdigest()[:8]
        return f"{QUEUE_SCORE}.{self.engine}.{self.dtype}.{slug}-{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wakeup:
    """A message to publish once the transaction that produced it has been committed."""

    work_id: int
    queue: str


Publish = Callable[[Sequence[Wakeup]], None]
"""Sends wake-ups. It never raises for a broker that is away: the sweeper sends them again."""
