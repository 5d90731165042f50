"""API keys: made for an owner, shown once, kept only as a hash."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from winnow.errors import NotFound
from winnow.store.ids import new_id
from winnow.store.tables import api_key

_PREFIX = "winnow_sk_"
_HINT_CHARS = len(_PREFIX) + 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it may be shown: never the key itself, `hint` is how it starts. Times are unix seconds."""

    id: str
    owner: str
    name: str | None
    hint: str
    created_at: float
    revoked_at: float | None


def create_key(conn: Connection, *, owner: str, name: str | None = None) -> str:
    """Make a key for `owner` and return it; it can't be had again."""
    key = _PREFIX + secrets.token_urlsafe(32)
    conn.execute(
        insert(api_key).values(
            id=new_id("key"), owner=owner, name=name, hint=key[:_HINT_CHARS], hash=_digest(key)
        )
    )
    return key


def authenticate(conn: Connection, key: str) -> str | None:
    """The owner of `key`, or None if it is unknown or revoked.

    The lookup is by the hash of 256 random bits, so its timing tells nothing about keys.
    """
    statement = select(api_key.c.owner).where(
        api_key.c.hash == _digest(key), api_key.c.revoked_at.is_(None)
    )
    return conn.scalar(statement)


def list_keys(conn: Connection, *, owner: str | None = None) -> list[ApiKey]:
    """All keys, or those of one owner, the oldest first."""
    statement = select(api_key).order_by(api_key.c.created_at, api_key.c.id)
    if owner is not None:
        statement = statement.where(api_key.c.owner == owner)
    return [
        ApiKey(
            id=row.id,
            owner=row.owner,
            name=row.name,
            hint=row.hint,
            created_at=row.created_at.timestamp(),
            revoked_at=None if row.revoked_at is None else row.revoked_at.timestamp(),
        )
        for row in conn.execute(statement)
    ]


def revoke_key(conn: Connection, *, key_id: str) -> None:
    """Refuse the key from now on; revoking twice changes nothing.

    Raises:
        NotFound: there is no such key.
    """
    revoked_at = func.coalesce(api_key.c.revoked_at, func.now())
    found = conn.execute(
        update(api_key).where(api_key.c.id == key_id).values(revoked_at=revoked_at)
    )
    if found.rowcount == 0:
        raise NotFound(f"There is no key {key_id!r}. `winnow keys list` shows them.")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
