"""Requests that may be sent twice: the answer is stored with what the first one made, in one transaction.

A client names its attempt in `Idempotency-Key`. The first request does the work; others with the same key wait for it
and get its answer with `Idempotent-Replayed: true`. The same key on another request is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Header, Response
from pydantic import BaseModel

from service.resources import Resources
from winnow.messages import Wakeup
from winnow.store.idempotency import StoredResponse, begin, find, finish
from winnow.store.session import Connection

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Sending the same request again under the same key makes nothing new.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """What a request made: its answer, and the wake-ups to publish once it is committed."""

    body: BaseModel
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    wakeups: Sequence[Wakeup] = ()


def create_once(
    resources: Resources,
    create: Callable[[Connection], Created],
    *,
    owner: str,
    key: str | None,
    fingerprint: Mapping[str, object],
) -> Response:
    """Run `create` in a transaction of its own, unless `key` has its answer already.

    Raises:
        IdempotencyMismatch: the key belongs to a request with another `fingerprint`.
    """
    with resources.database.transaction() as connection:
        if key is not None:
            stored = begin(connection, owner=owner, key=key, request_hash=_digest(fingerprint))
            if stored is not None:
                return _replay(stored)
        created = create(connection)
        body = created.body.model_dump_json().encode()
        if key is not None:
            finish(
                connection,
                owner=owner,
                key=key,
                status=created.status,
                headers=created.headers,
                body=body,
            )
    resources.publisher.publish(created.wakeups)
    return Response(body, created.status, created.headers, media_type="application/json")


def replayed(
    resources: Resources, *, owner: str, key: str | None, fingerprint: Mapping[str, object]
) -> Response | None:
    """The answer that `key` has already; what takes work before `create_once` asks first, so as not to do it again.

    Raises:
        IdempotencyMismatch: the key belongs to a request with another `fingerprint`.
    """
    if key is None:
        return None
    with resources.database.transaction() as connection:
        stored = find(connection, owner=owner, key=key, request_hash=_digest(fingerprint))
    return None if stored is None else _replay(stored)


def _replay(stored: StoredResponse) -> Response:
    headers = stored.headers | {"Idempotent-Replayed": "true"}
    return Response(stored.body, stored.status, headers, media_type="application/json")


def _digest(fingerprint: Mapping[str, object]) -> str:
    canonical = json.dumps(fingerprint, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
