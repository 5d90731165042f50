"""The frame around every unit of work: claim, work, finish; what goes wrong is settled by `workers.policy`.

    claim    one conditional UPDATE; no row means that there is nothing to do
    work     a handler computes, outside any transaction, under a lease that is kept alive
    finish   one transaction writes the results and closes the unit, or leaves no trace
    publish  wake-ups for what comes next, after the commit

Model files are loaded after the claim, not before: a model that kills its worker then uses up attempts, not workers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog

from winnow.errors import LeaseLost, WinnowError
from winnow.messages import Publish, Wakeup
from winnow.store.session import Connection, Database
from winnow.store.work import Claim, claim, fail_attempt, put_off, release
from workers.aside import Aside
from workers.lease import STALL_S, Lease
from workers.policy import DATABASE_AWAY, ShuttingDown, Verdict, describe, judge

PATIENCE_S = 20.0
"""How long a database that went away is waited for before finished work is given up."""

RETRY_INTERVAL_S = 0.5
PUT_OFF_S = 15.0
"""The pause of what is put off is this at first."""

ASIDE = frozenset({"deliver"})
"""Kinds of work that wait for somebody else, and so go on beside other work."""

Finish = Callable[[Connection], Sequence[Wakeup]]
"""Writes the results of a unit and closes it, inside the transaction it is given. It may be called again."""

Handler = Callable[[Claim, Lease], Finish]
"""Does the work of one kind. It writes nothing to the database itself: what it returns does."""

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class UnitRunner:
    """Runs units for one worker process. `queues` are what it offers; it claims nothing else.

    Units that wait for somebody else run in threads of `aside`; without one, in turn as the others.
    """

    database: Database
    publish: Publish
    handlers: Mapping[str, Handler]
    worker_id: str
    queues: frozenset[str]
    lease_s: float
    stopping: threading.Event
    aside: Aside | None = None
    patience_s: float = PATIENCE_S
    stall_s: float = STALL_S

    def run(self, work_id: int) -> None:
        """Do the unit if it is there to be done. Errors of the unit are written down, not raised.

        Raises:
            ShuttingDown: the worker is stopping and has not looked at the unit.
        """
        if self.stopping.is_set():
            raise ShuttingDown("the worker is stopping")
        try:
            claimed = self._transact(
                lambda connection: claim(
                    connection,
                    work_id,
                    worker_id=self.worker_id,
                    lease_s=self.lease_s,
                    queues=self.queues,
                    kinds=self._kinds(),
                )
            )
        except DATABASE_AWAY:
            # The unit is still queued; the sweeper publishes it again when the database is back.
            log.exception("unit not claimed", work_id=work_id)
            return
        if claimed is None:
            return
        if self.aside is None or claimed.kind not in ASIDE:
            self._do(claimed)
        else:
            self.aside.start(partial(self._do, claimed))

    def _kinds(self) -> Collection[str]:
        """What can be begun now. The sweeper publishes again, ever more seldom, what has to wait for a thread."""
        kinds = self.handlers.keys()
        return kinds - ASIDE if self.aside is not None and self.aside.full else kinds

    def _do(self, claimed: Claim) -> None:
        self.publish(self._run_claimed(claimed))

    def _run_claimed(self, claimed: Claim) -> Sequence[Wakeup]:
        unit_log = _log_of(claimed)
        started = time.monotonic()
        try:
            finish = self._work(claimed)
            wakeups = self._transact(finish)
        except Exception as error:  # noqa: BLE001  the policy table decides about every kind
            return self._settle(claimed, error, unit_log)
        unit_log.info("unit done", seconds=round(time.monotonic() - started, 3))
        return wakeups

    def _work(self, claimed: Claim) -> Finish:
        with Lease(
            self.database,
            claimed,
            lease_s=self.lease_s,
            stopping=self.stopping,
            stall_s=self.stall_s,
        ) as lease:
            return self.handlers[claimed.kind](claimed, lease)

    def _settle(
        self, claimed: Claim, error: Exception, unit_log: structlog.stdlib.BoundLogger
    ) -> Sequence[Wakeup]:
        verdict = judge(error)
        unit_log.warning(
            f"unit {verdict.value}",
            error=repr(error),
            exc_info=verdict is Verdict.TRY_AGAIN and not isinstance(error, WinnowError),
        )
        if verdict is Verdict.DROP:
            return []
        try:
            return self._transact(lambda connection: _write(connection, claimed, verdict, error))
        except (LeaseLost, *DATABASE_AWAY) as failure:
            # Then the lease runs out by itself and the sweeper hands the unit on.
            unit_log.warning("verdict not written", error=repr(failure))
            return []

    def _transact(self, write: Callable[[Connection], T]) -> T:
        """`write` in one transaction, again while the database is away, for `patience_s` at most."""
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                with self.database.transaction() as connection:
                    return write(connection)
            except DATABASE_AWAY as error:
                if time.monotonic() > deadline or self.stopping.wait(RETRY_INTERVAL_S):
                    raise
                log.warning("database away", error=type(error).__name__)


def _log_of(claimed: Claim) -> structlog.stdlib.BoundLogger:
    bound: structlog.stdlib.BoundLogger = log.bind(
        work_id=claimed.work_id,
        kind=claimed.kind,
        subject=claimed.subject,
        attempt=claimed.attempt,
    )
    return bound


def _write(
    connection: Connection, claimed: Claim, verdict: Verdict, error: Exception
) -> Sequence[Wakeup]:
    if verdict is Verdict.GIVE_BACK:
        return release(connection, claimed)
    if verdict is Verdict.PUT_OFF:
        put_off(connection, claimed, delay_s=PUT_OFF_S)
        return []
    return fail_attempt(connection, claimed, describe(error), permanent=verdict is Verdict.FAIL)
