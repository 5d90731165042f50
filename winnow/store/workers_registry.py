"""Which workers are there, and what they take: what a run that nobody can take is explained with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from winnow.messages import Offer
from winnow.store.clock import seconds
from winnow.store.tables import worker

LIVE_WITHIN_S = 30.0
"""A worker that has been silent for so long counts as gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWorker:
    """A worker process that was seen lately; `seen_at` in unix seconds."""

    id: str
    queues: tuple[str, ...]
    offers: tuple[Offer, ...]
    seen_at: float


def heartbeat(
    conn: Connection, *, worker_id: str, queues: Collection[str], offers: Collection[Offer] = ()
) -> None:
    """Say that a worker is there, on which queues it listens, and which models it runs."""
    said = {"queues": list(queues), "offers": [asdict(offer) for offer in offers]}
    now = func.clock_timestamp()
    conn.execute(
        insert(worker)
        .values(id=worker_id, seen_at=now, **said)
        .on_conflict_do_update(index_elements=["id"], set_={**said, "seen_at": now})
    )


def live_workers(conn: Connection, *, within_s: float = LIVE_WITHIN_S) -> list[LiveWorker]:
    """The workers that were seen in the last `within_s` seconds."""
    recent = worker.c.seen_at > func.clock_timestamp() - seconds(within_s)
    return [
        LiveWorker(
            id=row.id,
            queues=tuple(row.queues),
            offers=tuple(Offer(**offer) for offer in row.offers),
            seen_at=row.seen_at.timestamp(),
        )
        for row in conn.execute(select(worker).where(recent).order_by(worker.c.id))
    ]


def forget(conn: Connection, *, worker_id: str) -> None:
    """Remove a worker that ends."""
    conn.execute(delete(worker).where(worker.c.id == worker_id))
