"""The application: rooms put together, connections opened when it starts and closed when it stops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI

from service import docs, errors, health, openapi
from service.datasets import endpoints as datasets
from service.files import endpoints as files
from service.fine_tuning import endpoints as fine_tuning
from service.label_studio import endpoints as label_studio
from service.metrics import Metrics
from service.models import endpoints as models
from service.observe import RequestObserver
from service.publisher import Publisher
from service.resources import Resources
from service.runs import endpoints as runs
from service.runs import explore
from service.score import endpoints as score
from service.subsets import endpoints as subsets
from service.trajectories import endpoints as trajectories
from service.trust import endpoints as trust
from service.web import endpoints as web
from service.webhooks import endpoints as webhooks
from service.webhooks import told
from winnow import __version__
from winnow.errors import ConfigurationError
from winnow.settings import Settings
from winnow.store.blobs import Blobs
from winnow.store.session import Database

DESCRIPTION = """Scores instruction-tuning data with a small proxy language model and hands back the part worth
training on: `POST /score` a dataset, follow the run, read `/subsets?ratio=0.1`. Under `/v1`, in OpenAI's shapes, a
subset becomes a model: the `openai` package drives it."""

ROUTERS = (
    score.router,
    runs.router,
    explore.router,
    subsets.router,
    trajectories.router,
    trust.router,
    datasets.router,
    files.router,
    fine_tuning.router,
    label_studio.router,
    models.router,
    webhooks.router,
    health.router,
    docs.router,
    web.router,
)


class State(TypedDict):
    """What the lifespan hands to every request."""

    resources: Resources


def create_app(settings: Settings, *, database: Database | None = None) -> FastAPI:
    """The gateway of an installation. Nothing is connected before it starts.

    Args:
        settings: with database, broker and blob store named (`Settings.embedded_at` names those of the embedded mode).
        database: a pool to use instead of one of its own; it is left open.

    Raises:
        ConfigurationError: a place to keep things is not named.
    """
    database_url, blob_url = _places(settings)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        pool = database or Database(database_url)
        publisher = Publisher(settings)
        metrics.observe_database(pool)
        try:
            yield State(
                resources=Resources(
                    settings=settings,
                    database=pool,
                    blobs=Blobs(blob_url),
                    publisher=publisher,
                    metrics=metrics,
                )
            )
        finally:
            publisher.close()
            if database is None:
                pool.dispose()

    app = FastAPI(
        title="Winnow",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        responses=openapi.PROBLEM_RESPONSES,
        webhooks=told.router,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(RequestObserver, metrics=metrics)
    for router in ROUTERS:
        app.include_router(router)
    errors.register(app)
    openapi.install(app)
    return app


def _places(settings: Settings) -> tuple[str, str]:
    """Where the database and the blobs are."""
    if settings.database_url is None or settings.blob_url is None or settings.broker_url is None:
        raise ConfigurationError("The gateway needs a database, a broker and a blob store.")
    return settings.database_url, settings.blob_url
