"""What workers write about a message: each attempt, the end of it, and what that says of its receiver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from winnow.messages import Wakeup
from winnow.store.clock import clock, seconds
from winnow.store.ids import new_id
from winnow.store.tables import webhook_delivery, webhook_endpoint
from winnow.store.webhook_secrets import signing_secrets
from winnow.store.webhooks import Attempt, DisabledReason, add_attempt, is_disabled
from winnow.store.work import Claim, close

Verdict = Literal["delivered", "retry", "exhausted", "gone", "refused"]
"""After an attempt: taken; to be tried again; tried for the last time; the receiver wants nothing more (410); never
sent, because its address is closed or its endpoint disabled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message as it is to be sent; `disabled`: not at all."""

    id: str
    owner: str
    url: str
    body: str
    secrets: tuple[str, ...]
    disabled: bool


def load_outgoing(conn: Connection, delivery_id: str) -> Outgoing:
    """A message, and the secrets that sign it now."""
    mine = webhook_delivery.c.id == delivery_id
    row = conn.execute(select(webhook_delivery).where(mine)).one()
    return Outgoing(
        id=row.id,
        owner=row.owner,
        url=row.url,
        body=row.body,
        secrets=signing_secrets(conn, row.owner),
        disabled=is_disabled(conn, row.owner, row.url),
    )


def settle_attempt(
    conn: Connection, claim: Claim, attempt: Attempt, verdict: Verdict, *, retry_in_s: float = 0.0
) -> list[Wakeup]:
    """Note an attempt and what follows: another one in `retry_in_s`, or the end.

    A receiver that answers 410, or that took nothing at all while one message used up its attempts, is disabled.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    if verdict == "retry":
        later = {"available_at": clock() + seconds(retry_in_s), "published_at": None}
        close(conn, claim, "queued", **later)
        add_attempt(conn, claim.subject, attempt)
        return []
    delivered = verdict == "delivered"
    unit = close(conn, claim, "done" if delivered else "failed", finished_at=clock())
    status = "delivered" if delivered else "failed"
    add_attempt(conn, claim.subject, attempt, status=status, finished_at=clock())
    if delivered:
        _note(conn, claim.subject, delivered_at=clock())
    elif verdict == "gone":
        _disable(conn, claim.subject, "gone")
    elif verdict == "exhausted":
        took_another = webhook_endpoint.c.delivered_at > unit.created_at
        _disable(conn, claim.subject, "failing", unless=took_another)
    return []


def _disable(
    conn: Connection,
    delivery_id: str,
    reason: DisabledReason,
    unless: ColumnElement[bool] | None = None,
) -> None:
    table = webhook_endpoint
    which = and_(table.c.id == _note(conn, delivery_id), table.c.disabled_at.is_(None))
    disabled = {"disabled_at": clock(), "disabled_reason": reason}
    where = which if unless is None else and_(which, unless.is_not(True))
    conn.execute(update(table).where(where).values(disabled))


def _note(conn: Connection, delivery_id: str, **values: Any) -> str:
    """The id of a message's receiver, made if it is new, with `values` set."""
    table = webhook_endpoint
    mine = webhook_delivery.c.id == delivery_id
    of = conn.execute(select(webhook_delivery.c.owner, webhook_delivery.c.url).where(mine)).one()
    made = upsert(table).values(id=new_id("whep"), owner=of.owner, url=of.url, **values)
    # An update that changes nothing, where there is nothing to set: it gives the row back.
    kept = values or {"url": made.excluded.url}
    noted = made.on_conflict_do_update(index_elements=[table.c.owner, table.c.url], set_=kept)
    endpoint_id: str = conn.execute(noted.returning(table.c.id)).scalar_one()
    return endpoint_id
