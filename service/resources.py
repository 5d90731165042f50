"""What every request shares: built once when the application starts, closed when it stops, passed in by FastAPI.

A request that touches the database does so in one `gateway.database.transaction()` inside its endpoint: it is committed
before the answer leaves, and no connection is held while a request waits for a thread (a `yield` dependency would hold
one, and more requests than threads and connections together would then wait for each other). Wake-ups are published
after the commit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from service.kept import Kept
from service.metrics import Metrics
from service.publisher import Publisher
from winnow.settings import Settings
from winnow.store.blobs import Blobs
from winnow.store.session import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The connections and settings of one gateway process."""

    settings: Settings
    database: Database
    blobs: Blobs
    publisher: Publisher
    metrics: Metrics
    kept: Kept = field(default_factory=Kept)


def _resources(request: Request) -> Resources:
    resources: Resources = request.state.resources
    return resources


Gateway = Annotated[Resources, Depends(_resources)]
