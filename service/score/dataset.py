"""The dataset that a request is about: the one that was sent along, or the one that was named."""

from __future__ import annotations

from typing import TypeVar

from service.score.options import MethodOptions
from service.uploads import Received, create_dataset
from winnow.errors import InvalidOption
from winnow.messages import Wakeup
from winnow.settings import Settings
from winnow.store.datasets import Dataset, get_dataset
from winnow.store.session import Connection

Asked = TypeVar("Asked", bound=MethodOptions)


def named_dataset(
    connection: Connection,
    received: Received[Asked],
    *,
    owner: str,
    kept: bool = True,
    settings: Settings,
) -> tuple[Dataset, list[Wakeup]]:
    """The owner's dataset, stored now if it was sent along; `kept` unless for a dry run.

    Raises:
        NotFound: the owner has no dataset of this name.
        InvalidOption: one is sent and another one named, or none of both.
    """
    named, upload = received.options.dataset, received.upload
    if named is not None and upload is None:
        return get_dataset(connection, owner=owner, dataset_id=named), []
    if named is None and upload is not None:
        return create_dataset(
            connection, upload, received.options, owner=owner, kept=kept, settings=settings
        )
    raise InvalidOption(
        "Send a dataset (the raw body, or the field 'file'), or name a stored one as 'dataset': one of the two.",
        param="dataset",
    )
