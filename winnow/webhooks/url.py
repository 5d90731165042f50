"""The address of a receiver as a user writes it: refused at once if no message could ever be sent there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address

import httpx

from winnow.errors import InvalidOption
from winnow.webhooks.addresses import Network, is_open

PARAM = "webhook_url"
MAX_URL = 1024
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
"""A name or an address; names in other scripts are encoded by then."""


def check_url(url: str, *, opened: Sequence[Network]) -> str:
    """The URL, written in ASCII without its fragment.

    A name is not looked up: what it leads to is checked at every connection (`winnow.webhooks.sending`).

    Raises:
        InvalidOption: it is no http or https URL, carries a password, or names an address that is closed.
    """
    try:
        parsed = httpx.URL(url)
        host = parsed.host
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InvalidOption(f"This is no URL: {error}.", param=PARAM) from error
    if parsed.scheme not in ("http", "https") or not _HOST.fullmatch(parsed.raw_host.decode()):
        raise InvalidOption("Give an http:// or https:// URL with a host.", param=PARAM)
    if parsed.port is not None and not 0 < parsed.port < 2**16:
        raise InvalidOption("The port of the URL is none.", param=PARAM)
    if parsed.userinfo:
        raise InvalidOption(
            "Leave user and password out of the URL: messages are signed, and the receiver checks the signature.",
            param=PARAM,
        )
    if not _may_be_open(host, opened):
        raise InvalidOption(
            f"{host} is an address of this machine or of a private network, and closed to webhooks. An operator "
            "opens networks in WINNOW_WEBHOOK_NETWORKS.",
            param=PARAM,
        )
    written = str(parsed.copy_with(fragment=None))
    if len(written) > MAX_URL:
        raise InvalidOption(f"A URL may have {MAX_URL} characters.", param=PARAM)
    return written


def _may_be_open(host: str, opened: Sequence[Network]) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return is_open("127.0.0.1", opened) or is_open("::1", opened)
    try:
        address = ip_address(host)
    except ValueError:
        return True
    return is_open(address, opened)
