"""Who asks, where Label Studio asks: it knows Basic authentication only, so the password is the key; any user will do.

Whoever sets a header, as webhooks can, may send `Authorization: Bearer` too.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.security import (
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBasicCredentials,
    HTTPBearer,
)

from service.auth import owner_of
from service.resources import Gateway

_basic = HTTPBasic(auto_error=False, description="Any user, and as its password an API key.")
_bearer = HTTPBearer(auto_error=False, description="An API key.")


async def _key(
    basic: Annotated[HTTPBasicCredentials | None, Depends(_basic)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str | None:
    if bearer is not None:
        return bearer.credentials
    return None if basic is None else basic.password


Key = Annotated[str | None, Depends(_key)]


def _owner(gateway: Gateway, key: Key) -> str:
    return owner_of(gateway, key)


Owner = Annotated[str, Depends(_owner)]
