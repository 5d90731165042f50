"""A worker process with an engine that needs no model: it starts in a second, and takes its time over a block.

A row that says `POISON` kills the process at once, as a crash inside a library does.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from tests.fakes import FakeEngine
from winnow.proxy.engine import Span, SpanLoss
from winnow.settings import Settings
from workers.run import run_worker

POISON = b"POISON"
BATCH_S = 0.02
"""A block of 1,024 rows is 32 batches of the fake engine."""


class DeadlyEngine(FakeEngine):
    """The fake engine, except that it does not survive poison."""

    def losses(self, spans: Sequence[Span], **listeners: Any) -> list[SpanLoss]:
        if any(POISON in bytes(token for token in span.tokens if token < 256) for span in spans):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().losses(spans, **listeners)


if __name__ == "__main__":
    sys.exit(
        run_worker(
            Settings(), ["io", "score"], threads=1, load=lambda _: DeadlyEngine(batch_s=BATCH_S)
        )
    )
