"""Which proxy models a run may use, and what their files are if they are here. No model is loaded."""

from __future__ import annotations

from pathlib import Path

from winnow.errors import ModelNotAllowed
from winnow.proxy.models import BUNDLED, resolve, revision
from winnow.settings import Settings


def local_revision(model: str) -> str | None:
    """The revision of a model whose files are on this machine; None for others: a worker that has them fills it in.

    A name of the hub is never looked up here: a request must not wait for a download.

    Raises:
        ModelError: the files are here and are no usable model.
    """
    if model != BUNDLED and not Path(model).is_dir():
        return None
    return revision(resolve(model))


def check_allowed(model: str, settings: Settings) -> None:
    """Refuse a model that the installation does not name.

    Raises:
        ModelNotAllowed: the message names those that may be used.
    """
    if model not in settings.models:
        raise ModelNotAllowed(
            f"The model {model!r} is not offered here. Use one of: {', '.join(settings.models)}. "
            "An operator adds others to WINNOW_MODELS.",
            param="model",
        )
