"""`/models`: what may be used, and who can compute with it right now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fastapi import APIRouter

from service.auth import Owner
from service.models.schemas import ModelView, OfferView
from service.pages import List
from service.proxies import local_revision
from service.resources import Gateway
from winnow.errors import ModelError
from winnow.messages import Offer
from winnow.settings import Settings
from winnow.store.workers_registry import live_workers

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", operation_id="list_models")
def list_models(gateway: Gateway, owner: Owner) -> List[ModelView]:  # noqa: ARG001  (a key is wanted)
    """The proxy models of this installation, the default first, and the running workers that offer each."""
    with gateway.database.transaction() as connection:
        workers = live_workers(connection)
    offers = [offer for worker in workers for offer in worker.offers]
    settings = gateway.settings
    return List(data=[_model(name, settings, offers) for name in settings.models], has_more=False)


def _model(name: str, settings: Settings, offers: Sequence[Offer]) -> ModelView:
    counts = Counter((offer.engine, offer.dtype) for offer in offers if offer.model == name)
    return ModelView(
        id=name,
        default=name == settings.models[0],
        revision=_revision(name),
        offers=[
            OfferView(engine=engine, dtype=dtype, num_workers=count)
            for (engine, dtype), count in sorted(counts.items())
        ],
    )


def _revision(name: str) -> str | None:
    """None too for a model that cannot be used: it must not hide the others from the list."""
    try:
        return local_revision(name)
    except ModelError:
        return None
