"""The right to work on a claimed unit, kept alive while the work goes on.

A thread renews the lease: soon after every batch, and without one every second, so that a long batch, a
model that loads or a million rows that are copied do not lose it. The working thread never waits for the database
here; at its next batch it hears what the thread has found: the run was cancelled, or another worker took over.

A unit that reports no batch for `STALL_S` is no longer renewed, so that one that hangs is taken over. Work that waits
for another process asks with `check`, which is no sign of life.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import structlog

from winnow.errors import LeaseLost
from winnow.store.session import Database
from winnow.store.work import Claim, renew
from workers.policy import DATABASE_AWAY, Cancelled, ShuttingDown, Stalled

STALL_S = 15 * 60.0
MIN_INTERVAL_S = 0.25
"""Progress is written at most so often: batches of a small model take milliseconds."""

HEARD_WITHIN_S = 1.0
"""A cancel is heard after this time, also where a batch takes long."""

log = structlog.get_logger()


class Lease:
    """A claimed unit; a context manager that renews as long as its body runs."""

    def __init__(
        self,
        database: Database,
        claim: Claim,
        *,
        lease_s: float,
        stopping: threading.Event,
        stall_s: float = STALL_S,
    ) -> None:
        self._database = database
        self._claim = claim
        self._lease_s = lease_s
        self._pause_s = min(lease_s / 3, HEARD_WITHIN_S)
        self._stopping = stopping
        self._stall_s = stall_s
        self._rows_done = 0
        self._rows_written = 0
        self._progress_at = self._renewed_at = time.monotonic()
        self._ended: Exception | None = None
        self._left = threading.Event()
        self._thread = threading.Thread(
            target=self._keep, name=f"lease-{claim.work_id}", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left.set()
        self._thread.join()

    def progress(self, rows_done: int) -> None:
        """Say how many rows of the unit are done; called once a batch.

        Raises:
            ShuttingDown: the worker was asked to stop.
            Cancelled: the run was cancelled.
            LeaseLost: another worker has the unit.
        """
        self._rows_done = rows_done
        self.go_on()

    def go_on(self) -> None:
        """Say that the work goes on where there are no rows to count, and hear whether it should.

        Raises:
            ShuttingDown, Cancelled, LeaseLost: as `progress` does.
        """
        self.alive()
        self.check()

    def alive(self) -> None:
        """Say that the work goes on, whatever happens."""
        self._progress_at = time.monotonic()

    def check(self) -> None:
        """Raise what ends the work, if something does.

        Raises:
            ShuttingDown: the worker was asked to stop.
            Cancelled: the run was cancelled.
            LeaseLost: another worker has the unit.
            Stalled: no progress was reported for too long.
        """
        if self._stopping.is_set():
            raise ShuttingDown("asked to stop between two batches")
        if self._ended is not None:
            raise self._ended
        if self._is_stalled():
            raise Stalled(f"no progress for {self._stall_s:g} s")

    def _keep(self) -> None:
        tick_s = min(MIN_INTERVAL_S, self._lease_s / 6)
        # What was cancelled is still held: its work may have something to save.
        while isinstance(self._ended, Cancelled | None) and not self._left.wait(tick_s):
            if self._due():
                self._renew()

    def _due(self) -> bool:
        if self._is_stalled():
            return False
        silent_s = time.monotonic() - self._renewed_at
        return self._rows_done != self._rows_written or silent_s > self._pause_s

    def _is_stalled(self) -> bool:
        return time.monotonic() - self._progress_at > self._stall_s

    def _renew(self) -> None:
        rows_done = self._rows_done
        try:
            with self._database.transaction() as connection:
                cancelled = renew(
                    connection, self._claim, lease_s=self._lease_s, rows_done=rows_done
                )
        except LeaseLost as lost:
            self._ended = lost
        except DATABASE_AWAY as error:
            # The next tick tries again. A lease that ran out meanwhile is still ours if nobody claimed it.
            log.warning(
                "lease not renewed", work_id=self._claim.work_id, error=type(error).__name__
            )
        except Exception as error:  # noqa: BLE001 - told to the working thread
            # It ends the unit with it; a thread that died in silence would let the lease run out.
            self._ended = error
        else:
            self._rows_written = rows_done
            self._renewed_at = time.monotonic()
            if cancelled:
                self._ended = Cancelled("the run was cancelled")
