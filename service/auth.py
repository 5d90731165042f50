"""Who asks. Embedded, everyone on this machine is `local`; a service wants a key.

Covered: which owner a request acts for; every store function is then asked for that owner's objects only. Not covered:
roles. A key may do everything with its owner's objects and nothing with those of others, which are 404.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.resources import Gateway, Resources
from winnow.errors import NotAuthenticated
from winnow.store.keys import authenticate

LOCAL_OWNER = "local"

_bearer = HTTPBearer(
    auto_error=False,
    description="A key from `winnow keys create`; not needed in the embedded mode.",
)


def _owner(
    gateway: Gateway,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str:
    return owner_of(gateway, None if credentials is None else credentials.credentials)


def owner_of(gateway: Resources, key: str | None) -> str:
    """The owner that a key acts for; embedded, no key is needed.

    Raises:
        NotAuthenticated: there is none, or it is not known.
    """
    if gateway.settings.embedded:
        return LOCAL_OWNER
    if key is None:
        raise NotAuthenticated
    with gateway.database.transaction() as connection:
        owner = authenticate(connection, key)
    if owner is None:
        raise NotAuthenticated("This key is not known or was revoked. Send another one.")
    return owner


Owner = Annotated[str, Depends(_owner)]
