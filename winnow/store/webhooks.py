"""Messages to receivers: made where a run or fine-tune ends, listed, and sent again when their owner asks.

A message is a row and a unit of work, written in the transaction that ends its subject: there is no end without its
message, and no message of an end that was rolled back. What a worker writes about it stands in
`winnow.store.deliveries`.

Order of locks: the unit, then its message, then the receiver.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from winnow.errors import Conflict, NotFound
from winnow.messages import QUEUE_IO, Wakeup
from winnow.store import units
from winnow.store.clock import clock, seconds, unix
from winnow.store.ids import new_id
from winnow.store.owned import check_fine_tune, check_run
from winnow.store.tables import run, webhook_delivery, webhook_endpoint, work
from winnow.store.values import ErrorInfo, Page, Swept, page_of
from winnow.webhooks.message import fine_tune_message, run_message
from winnow.webhooks.schedule import MAX_ATTEMPTS

DeliveryStatus = Literal["pending", "delivered", "failed"]
DisabledReason = Literal["gone", "failing"]

KEEP_DELIVERIES_S = 30 * 24 * 3600.0
"""Messages that are over can be looked at and sent again for so long."""

_KEEP_ATTEMPTS = 50
"""Of one message, replays included; older ones are forgotten."""

_BATCH = 1000

_NOT_SENT = ErrorInfo(
    code="worker_lost",
    message="Workers that could not send it used up its attempts. Stop those of earlier versions, then replay it.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a message. `at` is in unix seconds; `error` is a code, and `detail` says more for people."""

    at: float
    seconds: float
    status_code: int | None = None
    error: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message and what became of it; times are unix seconds.

    `subject` is the id of the run or fine-tune. `next_attempt_at` is None while nothing is to be sent, and while a
    worker sends it.
    """

    id: str
    subject: str
    type: str
    url: str
    body: str
    status: DeliveryStatus
    attempts: tuple[Attempt, ...]
    created_at: float
    finished_at: float | None
    next_attempt_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A receiver of one owner; times are unix seconds. `delivered_at` is when it last took a message."""

    id: str
    url: str
    delivered_at: float | None
    disabled_at: float | None
    disabled_reason: DisabledReason | None
    created_at: float


def announce_run(conn: Connection, ended: Row[Any]) -> None:
    """Have the receiver of a run told that it is over, if it has one; `ended` is its row."""
    if ended.webhook_url is not None:
        body = run_message(dict(ended._mapping))  # noqa: SLF001  (public in spite of its name)
        _announce(conn, ended, body, type_=f"run.{ended.status}", run_id=ended.id)


def announce_fine_tune(conn: Connection, ended: Row[Any]) -> None:
    """Have the receiver of a fine-tune told that it is over, if it has one; `ended` is its row."""
    if ended.webhook_url is not None:
        body = fine_tune_message(dict(ended._mapping))  # noqa: SLF001
        type_ = f"fine_tune.{ended.status}"
        _announce(conn, ended, body, type_=type_, fine_tune_id=ended.id)


def wake(conn: Connection, subject: str) -> list[Wakeup]:
    """Publish the message that this transaction has made of a run or fine-tune, if any.

    What is not published here, because its subject ended in passing, the sweeper publishes within seconds.
    """
    of_it = or_(webhook_delivery.c.run_id == subject, webhook_delivery.c.fine_tune_id == subject)
    made = work.c.delivery_id.in_(select(webhook_delivery.c.id).where(of_it))
    return units.mark_published(conn, and_(made, units.waiting_unpublished()), publishes=1)


def list_deliveries(  # one parameter a filter
    conn: Connection,
    *,
    owner: str,
    subject: str | None = None,
    status: DeliveryStatus | None = None,
    after: str | None = None,
    limit: int = 20,
) -> Page[Delivery]:
    """The owner's messages, the newest first, beginning after the one with the id `after`.

    Raises:
        NotFound: the owner has no such subject, or no message `after`.
    """
    statement = _visible(owner)
    if subject is not None:
        statement = statement.where(_of_subject(conn, owner, subject))
    if status is not None:
        statement = statement.where(webhook_delivery.c.status == status)
    place = tuple_(webhook_delivery.c.created_at, webhook_delivery.c.id)
    if after is not None:
        last = _owned(conn, owner, after)
        statement = statement.where(place < tuple_(last.created_at, last.id))
    newest_first = statement.order_by(
        webhook_delivery.c.created_at.desc(), webhook_delivery.c.id.desc()
    )
    return page_of([_delivery(row) for row in conn.execute(newest_first.limit(limit + 1))], limit)


def get_delivery(conn: Connection, *, owner: str, delivery_id: str) -> Delivery:
    """A message of the owner.

    Raises:
        NotFound: the owner has none with this id.
    """
    return _delivery(_owned(conn, owner, delivery_id))


def replay(conn: Connection, *, owner: str, delivery_id: str) -> tuple[Delivery, list[Wakeup]]:
    """Send a message again, now and with the same id and bytes, and as often as a new one if that fails.

    One that waits for its next attempt has it now; one that is being sent is left alone.

    Raises:
        NotFound: the owner has no such message.
        Conflict: its receiver is disabled.
    """
    message = _owned(conn, owner, delivery_id)
    if is_disabled(conn, owner, message.url):
        raise Conflict(
            "The endpoint of this message is disabled. GET /webhooks/endpoints lists it; enable it first."
        )
    waiting = and_(work.c.delivery_id == delivery_id, work.c.state == "queued")
    hurried = {"attempt": 0, "available_at": clock(), "published_at": clock(), "publishes": 1}
    waited = conn.execute(
        update(work).where(waiting).values(hurried).returning(work.c.id, work.c.queue)
    )
    wakeups = units.wakeups(waited) or _enqueue(conn, delivery_id)
    if wakeups:
        mine = webhook_delivery.c.id == delivery_id
        again = {"status": "pending", "finished_at": None}
        conn.execute(update(webhook_delivery).where(mine).values(again))
    return get_delivery(conn, owner=owner, delivery_id=delivery_id), wakeups


def list_endpoints(
    conn: Connection, *, owner: str, after: str | None = None, limit: int = 20
) -> Page[Endpoint]:
    """The owner's receivers, the newest first, beginning after the one with the id `after`.

    Raises:
        NotFound: the owner has no receiver `after`.
    """
    table = webhook_endpoint
    statement = select(table).where(table.c.owner == owner)
    if after is not None:
        last = _endpoint_row(conn, owner, after)
        place = tuple_(table.c.created_at, table.c.id)
        statement = statement.where(place < tuple_(last.created_at, last.id))
    newest_first = statement.order_by(table.c.created_at.desc(), table.c.id.desc())
    return page_of([_endpoint(row) for row in conn.execute(newest_first.limit(limit + 1))], limit)


def enable_endpoint(conn: Connection, *, owner: str, endpoint_id: str) -> Endpoint:
    """Let a receiver be sent messages again; one that is not disabled is left as it is.

    What it missed is not sent by itself: `replay` sends it.

    Raises:
        NotFound: the owner has no such receiver.
    """
    _endpoint_row(conn, owner, endpoint_id)
    enabled = {"disabled_at": None, "disabled_reason": None}
    mine = webhook_endpoint.c.id == endpoint_id
    conn.execute(update(webhook_endpoint).where(mine).values(enabled))
    return _endpoint(_endpoint_row(conn, owner, endpoint_id))


def is_disabled(conn: Connection, owner: str, url: str) -> bool:
    """Whether nothing is sent to this receiver of the owner."""
    table = webhook_endpoint
    mine = and_(table.c.owner == owner, table.c.url == url, table.c.disabled_at.is_not(None))
    return bool(conn.scalar(select(exists().where(mine))))


def fail_delivery(conn: Connection, delivery_id: str, error: ErrorInfo) -> None:
    """Give a message up whose worker failed or was lost too often; its receiver is not to blame."""
    now = conn.execute(select(clock())).scalar_one().timestamp()
    lost = Attempt(at=now, seconds=0.0, error=error.code, detail=error.message)
    add_attempt(conn, delivery_id, lost, status="failed", finished_at=clock())


def give_up_deliveries(conn: Connection) -> Swept:
    """Give up messages that wait, and have no unit that would send them: a worker that cannot had taken it."""
    open_ = exists().where(
        work.c.delivery_id == webhook_delivery.c.id, work.c.state.in_(("queued", "running"))
    )
    left = select(webhook_delivery.c.id).where(
        webhook_delivery.c.finished_at.is_(None), webhook_delivery.c.status == "pending", ~open_
    )
    locked = left.order_by(webhook_delivery.c.id).limit(_BATCH).with_for_update(skip_locked=True)
    given_up = conn.scalars(locked).all()
    for delivery_id in given_up:
        fail_delivery(conn, delivery_id, _NOT_SENT)
    return Swept(count=len(given_up))


def forget_deliveries(conn: Connection) -> None:
    """Remove messages that were over a month ago; the objects that they are about stay.

    With them go receivers that nothing is sent to any more. One that is disabled stays, so that it stays disabled.
    """
    old = select(webhook_delivery.c.id).where(
        webhook_delivery.c.finished_at < clock() - seconds(KEEP_DELIVERIES_S)
    )
    locked = old.limit(_BATCH).with_for_update(skip_locked=True)
    conn.execute(delete(webhook_delivery).where(webhook_delivery.c.id.in_(locked)))
    table = webhook_endpoint
    named = exists().where(
        webhook_delivery.c.owner == table.c.owner, webhook_delivery.c.url == table.c.url
    )
    quiet = func.coalesce(table.c.delivered_at, table.c.created_at) < clock() - seconds(
        KEEP_DELIVERIES_S
    )
    unused = select(table.c.id).where(quiet, table.c.disabled_at.is_(None), ~named)
    free = unused.limit(_BATCH).with_for_update(of=table, skip_locked=True)
    conn.execute(delete(table).where(table.c.id.in_(free)))


def add_attempt(conn: Connection, delivery_id: str, attempt: Attempt, **values: Any) -> None:
    """Note an attempt at a message whose unit the caller holds, and with it `values` of the message."""
    mine = webhook_delivery.c.id == delivery_id
    before = conn.execute(select(webhook_delivery.c.attempts).where(mine)).scalar_one()
    attempts = [*before, asdict(attempt)][-_KEEP_ATTEMPTS:]
    conn.execute(update(webhook_delivery).where(mine).values(attempts=attempts, **values))


def _announce(conn: Connection, ended: Row[Any], body: str, *, type_: str, **of: str) -> None:
    delivery_id = new_id("msg")
    conn.execute(
        insert(webhook_delivery).values(
            id=delivery_id, owner=ended.owner, url=ended.webhook_url, body=body, type=type_, **of
        )
    )
    conn.execute(insert(work).values(_unit(delivery_id)))


def _enqueue(conn: Connection, delivery_id: str) -> list[Wakeup]:
    """A new unit for a message that is over; none if a worker has one in its hands."""
    published = {"published_at": clock(), "publishes": 1}
    added = conn.execute(
        upsert(work)
        .values(_unit(delivery_id) | published)
        .on_conflict_do_nothing()
        .returning(work.c.id, work.c.queue)
    )
    return units.wakeups(added)


def _unit(delivery_id: str) -> dict[str, Any]:
    return {
        "kind": "deliver",
        "subject": delivery_id,
        "delivery_id": delivery_id,
        "queue": QUEUE_IO,
        "max_attempts": MAX_ATTEMPTS,
    }


def _of_subject(conn: Connection, owner: str, subject: str) -> ColumnElement[bool]:
    if subject.startswith("ftjob-"):
        check_fine_tune(conn, owner=owner, fine_tune_id=subject)
        return webhook_delivery.c.fine_tune_id == subject
    check_run(conn, owner=owner, run_id=subject)
    return webhook_delivery.c.run_id == subject


def _visible(owner: str) -> Select[Any]:
    """The messages of an owner, without those of runs that were deleted and are still to be purged."""
    due = select(work.c.available_at).where(
        work.c.delivery_id == webhook_delivery.c.id, work.c.state == "queued"
    )
    gone = exists().where(run.c.id == webhook_delivery.c.run_id, run.c.deleted_at.is_not(None))
    mine = and_(webhook_delivery.c.owner == owner, ~gone)
    return select(webhook_delivery, due.scalar_subquery().label("next_attempt_at")).where(mine)


def _owned(conn: Connection, owner: str, delivery_id: str) -> Row[Any]:
    found = _visible(owner).where(webhook_delivery.c.id == delivery_id)
    row = conn.execute(found).one_or_none()
    if row is None:
        raise NotFound(f"There is no delivery {delivery_id!r}.")
    return row


def _endpoint_row(conn: Connection, owner: str, endpoint_id: str) -> Row[Any]:
    table = webhook_endpoint
    mine = and_(table.c.owner == owner, table.c.id == endpoint_id)
    row = conn.execute(select(table).where(mine)).one_or_none()
    if row is None:
        raise NotFound(f"There is no endpoint {endpoint_id!r}.")
    return row


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        subject=row.run_id or row.fine_tune_id,
        type=row.type,
        url=row.url,
        body=row.body,
        status=row.status,
        attempts=tuple(Attempt(**each) for each in row.attempts),
        created_at=row.created_at.timestamp(),
        finished_at=unix(row.finished_at),
        next_attempt_at=unix(row.next_attempt_at),
    )


def _endpoint(row: Row[Any]) -> Endpoint:
    return Endpoint(
        id=row.id,
        url=row.url,
        delivered_at=unix(row.delivered_at),
        disabled_at=unix(row.disabled_at),
        disabled_reason=row.disabled_reason,
        created_at=row.created_at.timestamp(),
    )
