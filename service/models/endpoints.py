"""`/models`: what may be used, and who can compute with it right now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fastapi import APIRouter

from service.auth import Owner
from service.models.schemas import ModelView, OfferView, OpenAIModelView
from service.pages import List
from service.proxies import local_revision
from service.resources import Gateway
from winnow.errors import ModelError
from winnow.messages import Offer
from winnow.store import fine_tunes
from winnow.store.workers_registry import live_workers

router = APIRouter(tags=["models"])


@router.get("/models", operation_id="list_models")
def list_models(gateway: Gateway, owner: Owner) -> List[ModelView]:
    """The models of this installation, the default first, then yours; and the running workers that offer each."""
    with gateway.database.transaction() as connection:
        workers = live_workers(connection)
        jobs = fine_tunes.list_models(connection, owner=owner)
    offers = [offer for worker in workers for offer in worker.offers]
    names = gateway.settings.models
    bases = [
        ModelView(
            id=name,
            default=name == names[0],
            revision=_revision(name),
            offers=_offers(name, offers),
        )
        for name in names
    ]
    tuned = [
        ModelView(
            id=job.fine_tuned_model or "",
            default=False,
            base=job.spec.model,
            revision=None,
            offers=_offers(job.spec.model, offers),
        )
        for job in jobs
    ]
    return List(data=bases + tuned, has_more=False)


@router.get("/v1/models", operation_id="list_openai_models")
def list_openai_models(gateway: Gateway, owner: Owner) -> List[OpenAIModelView]:
    """The same models in OpenAI's shape."""
    with gateway.database.transaction() as connection:
        jobs = fine_tunes.list_models(connection, owner=owner)
    bases = [OpenAIModelView(id=name, owned_by="winnow") for name in gateway.settings.models]
    tuned = [
        OpenAIModelView(
            id=job.fine_tuned_model or "", created=int(job.finished_at or 0), owned_by=owner
        )
        for job in jobs
    ]
    return List(data=bases + tuned, has_more=False)


def _offers(name: str, offers: Sequence[Offer]) -> list[OfferView]:
    counts = Counter((offer.engine, offer.dtype) for offer in offers if offer.model == name)
    return [
        OfferView(engine=engine, dtype=dtype, num_workers=count)
        for (engine, dtype), count in sorted(counts.items())
    ]


def _revision(name: str) -> str | None:
    """None too for a model that cannot be used: it must not hide the others from the list."""
    try:
        return local_revision(name)
    except ModelError:
        return None
