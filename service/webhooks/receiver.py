"""The receiver that a request names: refused at once if it could never be told anything."""

from __future__ import annotations

from winnow.settings import Settings
from winnow.webhooks.url import check_url


def receiver(url: str | None, settings: Settings) -> str | None:
    """The URL as it is kept, if there is one.

    Raises:
        InvalidOption: it is no http or https URL, has a password in it, or names an address that is closed.
    """
    return None if url is None else check_url(url, opened=settings.opened_networks)
