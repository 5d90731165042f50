"""The one Celery task: an adapter from a message to a unit of work."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery
from celery.exceptions import Reject
from celery.worker.request import Request

from winnow.messages import QUEUE_TRAIN, RUN_WORK
from workers.policy import ShuttingDown


class StrictRequest(Request):
    """A message whose acknowledgement may fail loudly.

    Celery logs a lost connection at this point and carries on. The message then counts as in progress for ever, and
    with a prefetch of one this worker never asks for another. Raised, the error makes it connect anew.
    """

    acknowledged: bool

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """Work begins: with training the message is done already.

        It lasts for hours, and Redis would hand the message out again long before. What becomes of the unit is the
        sweeper's concern.
        """
        if self.delivery_info.get("routing_key") == QUEUE_TRAIN:
            self.acknowledge()
        super().on_accepted(pid, time_accepted)

    def acknowledge(self) -> None:
        """Tell the broker that the message is done with, now."""
        if not self.acknowledged:
            self.message.ack()
            self.acknowledged = True


def register_run_work(app: Celery, run_unit: Callable[[int], None]) -> None:
    """Let `app` answer wake-ups with `run_unit(work_id)`."""

    @app.task(name=RUN_WORK, Request=StrictRequest)
    def run_work(work_id: int) -> None:
        try:
            run_unit(work_id)
        except ShuttingDown as stop:
            # Taken from the broker while the worker was going away: another worker should get it at once.
            raise Reject(reason=str(stop), requeue=True) from stop
