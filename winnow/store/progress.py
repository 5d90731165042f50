"""The status of a run: the only place that changes it.

    queued -> ingesting -> training -> scoring -> finalizing -> completed
    any of the first five -> failed | cancelled

Only a run that needs a trajectory is training, and not if that is complete already. A run on a dataset that is ready
begins after queued, and a dry run goes from scoring to completed. Every change is an event of the run, and its end a
message to its receiver, if it has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, func, select, update

from winnow.errors import NoUsableRows
from winnow.messages import QUEUE_IO, Offer, Wakeup
from winnow.spec import RunSpec
from winnow.store import units
from winnow.store.clock import clock
from winnow.store.events import insert_event
from winnow.store.tables import dataset, run, work
from winnow.store.values import ErrorInfo
from winnow.store.webhooks import announce_run
from winnow.training.names import base_model

RunStatus = Literal[
    "queued", "ingesting", "training", "scoring", "finalizing", "completed", "failed", "cancelled"
]

ACTIVE: tuple[RunStatus, ...] = ("queued", "ingesting", "training", "scoring", "finalizing")
STOPPED: tuple[RunStatus, ...] = ("failed", "cancelled")

_FROM: dict[RunStatus, tuple[RunStatus, ...]] = {
    "ingesting": ("queued",),
    "training": ("queued", "ingesting"),
    "scoring": ("queued", "ingesting", "training"),
    "finalizing": ("scoring",),
    "completed": ("scoring", "finalizing"),
    "failed": ACTIVE,
    "cancelled": ACTIVE,
}


def move(conn: Connection, run_id: str, to: RunStatus, message: str, **values: Any) -> bool:
    """Change the status of a run and record it; False if its status forbids the change, and nothing happens."""
    row = conn.execute(
        update(run)
        .where(run.c.id == run_id, run.c.status.in_(_FROM[to]))
        .values(status=to, event_seq=run.c.event_seq + 1, **_times(to), **values)
        .returning(run)
    ).one_or_none()
    if row is None:
        return False
    insert_event(conn, run_id, row.event_seq, f"run.{to}", message, data={"status": to})
    if to not in ACTIVE:
        announce_run(conn, row)
    return True


def start_training(
    conn: Connection, run_id: str, message: str, *, trajectory_id: str, **sizes: int
) -> bool:
    """Let a run wait for its trajectory."""
    return move(conn, run_id, "training", message, trajectory_id=trajectory_id, **sizes)


def start_scoring(conn: Connection, run_id: str, **values: Any) -> list[Wakeup]:
    """Cut a run whose dataset is ready into units, and publish the first window of them; a dry run is one unit.

    A dataset without a usable row fails the run instead. `values` are what is known of the run from now on.
    """
    row = conn.execute(
        select(run, dataset.c.rows_read, dataset.c.rows_usable, dataset.c.num_blocks)
        .join(dataset, dataset.c.id == run.c.dataset_id)
        .where(run.c.id == run_id)
    ).one()
    sizes = {"rows": row.rows_read, "blocks": row.num_blocks}
    if row.rows_usable == 0:
        nothing = NoUsableRows()
        fail_run(conn, run_id, ErrorInfo(code=nothing.code, message=nothing.message), **sizes)
        return []
    doing = "Sampling" if row.dry_run else "Scoring"
    told = f"{doing} {row.rows_read} rows in {row.num_blocks} blocks."
    if not move(conn, run_id, "scoring", told, **sizes, **values):
        return []
    spec = RunSpec.read(row.spec)
    if row.dry_run:
        return units.enqueue(
            conn,
            kind="estimate",
            subject=run_id,
            run_id=run_id,
            queue=offer_of(spec).queue,
            max_attempts=row.max_attempts,
        )
    units.add_scoring(conn, run_id, queue=scoring_queue(spec))
    return units.publish_window(conn, run_id)


def offer_of(spec: RunSpec) -> Offer:
    """What a worker must offer to compute with the model: of a fine-tuned one, its base."""
    return Offer(engine=spec.engine, model=base_model(spec.model), dtype=spec.dtype)


def scoring_queue(spec: RunSpec) -> str:
    """Where the scoring units of a run go: those that only do sums over the losses of a trajectory need no model."""
    computes = spec.trajectory is None or spec.embeddings is not None
    return offer_of(spec).queue if computes else QUEUE_IO


def start_finalising(conn: Connection, run_id: str, *, max_attempts: int) -> list[Wakeup]:
    """Every block is scored: have the run's results put together, once."""
    move(conn, run_id, "finalizing", "Every block is scored.", scored_at=clock())
    return units.enqueue(
        conn, kind="finalise", subject=run_id, run_id=run_id, max_attempts=max_attempts
    )


def complete(
    conn: Connection, run_id: str, *, summary: dict[str, Any], warnings: Sequence[str]
) -> bool:
    """The run's results stand."""
    told = "The run is complete."
    return move(conn, run_id, "completed", told, summary=summary, warnings=list(warnings))


def complete_dry(conn: Connection, run_id: str, *, estimate: dict[str, Any]) -> bool:
    """The estimate of a dry run stands."""
    return move(conn, run_id, "completed", "The estimate is there.", estimate=estimate)


def fail_run(conn: Connection, run_id: str, error: ErrorInfo, **values: Any) -> bool:
    """Fail a run with the reason, and cancel what is left of its work."""
    failed = move(conn, run_id, "failed", error.message, error=error.as_dict(), **values)
    if failed:
        units.cancel_queued(conn, work.c.run_id == run_id)
    return failed


def stop_run(conn: Connection, run_id: str, message: str) -> bool:
    """Cancel a run: queued units at once, running ones when they next renew their lease."""
    cancelled = move(conn, run_id, "cancelled", message)
    if cancelled:
        units.cancel_queued(conn, work.c.run_id == run_id)
    return cancelled


def runs_waiting_for(conn: Connection, dataset_id: str) -> list[str]:
    """The runs that wait for a dataset, in the order in which they may be locked."""
    waiting = run.c.status.in_(("queued", "ingesting"))
    statement = select(run.c.id).where(run.c.dataset_id == dataset_id, waiting).order_by(run.c.id)
    return list(conn.scalars(statement))


def _times(to: RunStatus) -> dict[str, Any]:
    if to in ("ingesting", "training", "scoring"):
        return {"started_at": func.coalesce(run.c.started_at, clock())}
    return {} if to == "finalizing" else {"finished_at": clock()}
