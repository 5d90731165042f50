"""What operators and their machines ask: alive, ready, figures, and where everything is. None of it needs a key."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from service.resources import Gateway, Resources
from winnow import __version__
from winnow.store.migrate import pending

log = structlog.get_logger(__name__)
router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"
    version: str = __version__


class Readiness(BaseModel):
    """Whether requests can be served; `checks` says what is missing."""

    ready: bool
    checks: dict[str, str]


@router.get("/healthz", operation_id="live")
def live() -> Health:
    """Whether the process answers."""
    return Health()


@router.get(
    "/readyz", operation_id="ready", response_model=Readiness, responses={503: {"model": Readiness}}
)
def ready(gateway: Gateway) -> Response:
    """Whether the database answers and is migrated, and the blob store can be reached."""
    checks = {
        "database": _check(gateway.database.ping),
        "migrations": _check(lambda: _require_migrated(gateway)),
        "blobs": _check(lambda: gateway.blobs.exists("ready")),
    }
    readiness = Readiness(ready=set(checks.values()) == {"ok"}, checks=checks)
    return JSONResponse(readiness.model_dump(), status_code=200 if readiness.ready else 503)


@router.get("/metrics", operation_id="metrics", include_in_schema=False)
def metrics(gateway: Gateway) -> Response:
    """Figures for Prometheus."""
    return Response(gateway.metrics.render(), media_type=CONTENT_TYPE_LATEST)


class NotMigrated(Exception):
    """Run `winnow db upgrade`."""


def _require_migrated(gateway: Resources) -> None:
    if pending(gateway.database.url):
        raise NotMigrated("the schema is not the current one: run `winnow db upgrade`")


def _check(attempt: Callable[[], object]) -> str:
    """`ok`, or why not. Whatever is wrong with a dependency is the answer here, not an error of the request."""
    try:
        attempt()
    except NotMigrated as error:
        return str(error)
    except Exception as error:  # noqa: BLE001
        log.warning("not_ready", error=str(error))
        return f"failed: {type(error).__name__}"
    return "ok"
