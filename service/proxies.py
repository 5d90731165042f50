"""Which models a run or a fine-tuning job may use, and what their files are if they are here. No model is loaded."""

from __future__ import annotations

from pathlib import Path

from service.resources import Resources
from winnow.errors import ModelNotAllowed, NotFound
from winnow.proxy.models import BUNDLED, resolve, revision
from winnow.settings import Settings
from winnow.spec import PROXY_EMBEDDINGS, SENTENCE_TRANSFORMERS
from winnow.store.fine_tunes import find_model
from winnow.training.names import is_fine_tuned


def local_revision(model: str) -> str | None:
    """The revision of a model whose files are on this machine; None for others: a worker that has them fills it in.

    A name of the hub is never looked up here: a request must not wait for a download.

    Raises:
        ModelError: the files are here and are no usable model.
    """
    if model != BUNDLED and not Path(model).is_dir():
        return None
    return revision(resolve(model))


def check_scorable(model: str, resources: Resources, *, owner: str, param: str = "model") -> None:
    """Refuse a model that may not score for this owner: one not offered, or fine-tuned by nobody or by another.

    `param` is what named it.

    Raises:
        ModelNotAllowed: the message names those that may be used.
        NotFound: no job of the owner made this fine-tuned model.
    """
    if not is_fine_tuned(model):
        check_allowed(model, resources.settings, param=param)
        return
    try:
        with resources.database.transaction() as connection:
            find_model(connection, owner=owner, name=model)
    except NotFound as error:
        raise NotFound(
            f"{error.message} GET /models lists those that you may use.", param=param
        ) from error


def check_embedder(embeddings: str | None, settings: Settings) -> None:
    """Refuse to embed with a model that the installation does not name.

    Raises:
        ModelNotAllowed: the message names those that may be used.
    """
    name = (embeddings or "").removeprefix(SENTENCE_TRANSFORMERS)
    if embeddings in {None, PROXY_EMBEDDINGS} or name in settings.embedders:
        return
    offered = ", ".join(["true", *(SENTENCE_TRANSFORMERS + one for one in settings.embedders)])
    raise ModelNotAllowed(
        f"Rows are not embedded by {name!r} here. Use one of: {offered}. An operator adds others to WINNOW_EMBEDDERS.",
        param="embeddings",
    )


def check_allowed(model: str, settings: Settings, *, param: str = "model") -> None:
    """Refuse a model that the installation does not name; `param` is what named it.

    Raises:
        ModelNotAllowed: the message names those that may be used.
    """
    if model not in settings.models:
        raise ModelNotAllowed(
            f"The model {model!r} is not offered here. Use one of: {', '.join(settings.models)}. "
            "An operator adds others to WINNOW_MODELS.",
            param=param,
        )
