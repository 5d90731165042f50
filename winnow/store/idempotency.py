"""Requests that may be sent twice and are done once.

The key's row is inserted first and filled in last, inside the transaction that creates the object. A second request
with the same key waits at the unique index until the first has committed, and then reads its answer; if the first
rolled back, the second one takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert

from winnow.errors import IdempotencyMismatch
from winnow.store.tables import idempotency_key


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """The answer that the first request with a key got."""

    status: int
    headers: dict[str, str]
    body: bytes


def begin(conn: Connection, *, owner: str, key: str, request_hash: str) -> StoredResponse | None:
    """Claim `key` for this transaction (None: do the work, then `finish`), or return the answer it already got.

    Raises:
        IdempotencyMismatch: the key was used for another request.
    """
    mine = conn.execute(
        insert(idempotency_key)
        .values(owner=owner, key=key, request_hash=request_hash)
        .on_conflict_do_nothing()
        .returning(idempotency_key.c.key)
    )
    if mine.one_or_none() is not None:
        return None
    found = find(conn, owner=owner, key=key, request_hash=request_hash)
    if found is None:  # forgotten between the two statements
        return begin(conn, owner=owner, key=key, request_hash=request_hash)
    return found


def find(conn: Connection, *, owner: str, key: str, request_hash: str) -> StoredResponse | None:
    """The answer that `key` already got, if any; claims nothing, and waits for nobody.

    Raises:
        IdempotencyMismatch: the key was used for another request.
    """
    row = conn.execute(
        select(idempotency_key).where(
            idempotency_key.c.owner == owner, idempotency_key.c.key == key
        )
    ).one_or_none()
    if row is None:
        return None
    if row.request_hash != request_hash:
        raise IdempotencyMismatch
    return StoredResponse(status=row.status, headers=row.headers, body=row.body)


def finish(  # the parts of an answer
    conn: Connection,
    *,
    owner: str,
    key: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
) -> None:
    """Keep the answer beside the key, in the transaction that `begin` started."""
    conn.execute(
        update(idempotency_key)
        .where(idempotency_key.c.owner == owner, idempotency_key.c.key == key)
        .values(status=status, headers=dict(headers), body=body)
    )
