"""What an owner's messages are signed with: one secret, and after a rotation the one before it for a day.

Secrets are kept as they are, because signing needs them: whoever reads this table can forge messages to receivers, and
can read everything else of the database too.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, case, select
from sqlalchemy.dialects.postgresql import insert

from winnow.errors import NotFound
from winnow.store.clock import clock, seconds, unix
from winnow.store.tables import webhook_secret

PREFIX = "whsec_"
KEEP_PREVIOUS_S = 24 * 3600.0
"""How long the secret before a rotation goes on to sign, so that receivers can be changed one after the other."""

_SECRET_BYTES = 32
_HINT_CHARS = len(PREFIX) + 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretInfo:
    """An owner's secret as it may be shown: never the secret itself, hints are how they begin. Times: unix seconds."""

    hint: str
    created_at: float
    previous_hint: str | None
    previous_expires_at: float | None


def rotate_secret(conn: Connection, *, owner: str) -> str:
    """Make a new secret and return it; it can't be had again. The one before it signs for a day more.

    Rotated twice, both that were there before are worth nothing at once.
    """
    secret = _new_secret()
    conn.execute(
        insert(webhook_secret)
        .values(owner=owner, secret=secret)
        .on_conflict_do_update(
            index_elements=[webhook_secret.c.owner],
            set_={
                "secret": secret,
                "previous": webhook_secret.c.secret,
                "previous_expires_at": clock() + seconds(KEEP_PREVIOUS_S),
                "created_at": clock(),
            },
        )
    )
    return secret


def secret_info(conn: Connection, *, owner: str) -> SecretInfo:
    """What may be shown of the owner's secrets.

    Raises:
        NotFound: there is none yet.
    """
    row = conn.execute(
        select(
            webhook_secret.c.secret,
            webhook_secret.c.created_at,
            _VALID_PREVIOUS,
            webhook_secret.c.previous_expires_at,
        ).where(webhook_secret.c.owner == owner)
    ).one_or_none()
    if row is None:
        raise NotFound("There is no secret yet. POST /webhooks/secret/rotate makes and shows one.")
    valid = row.previous is not None
    return SecretInfo(
        hint=row.secret[:_HINT_CHARS],
        created_at=row.created_at.timestamp(),
        previous_hint=row.previous[:_HINT_CHARS] if valid else None,
        previous_expires_at=unix(row.previous_expires_at) if valid else None,
    )


def signing_secrets(conn: Connection, owner: str) -> tuple[str, ...]:
    """The secrets that sign now, the newest first; the first is made when it is needed."""
    conn.execute(
        insert(webhook_secret).values(owner=owner, secret=_new_secret()).on_conflict_do_nothing()
    )
    row = conn.execute(
        select(webhook_secret.c.secret, _VALID_PREVIOUS).where(webhook_secret.c.owner == owner)
    ).one()
    return tuple(secret for secret in row if secret is not None)


_VALID_PREVIOUS = case(
    (webhook_secret.c.previous_expires_at > clock(), webhook_secret.c.previous)
).label("previous")


def _new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
