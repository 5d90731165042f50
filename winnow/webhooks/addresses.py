"""Which addresses a receiver may have: those of the public Internet, and those of networks that an operator opens.

The lists follow IANA's special-purpose registries (RFC 6890 and its updates). They are written out because Python's
`is_global` differs from release to release and takes an address that wraps an IPv4 one for what it looks like, not for
what it reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))

_CLOSED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, and on many systems this machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a carrier's NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; the metadata of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)

_UNICAST_V6 = IPv6Network("2000::/3")
"""All that is assigned as global unicast; loopback, link-local, unique local and multicast lie outside."""

_CLOSED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo, ORCHID and the like
        "2001:db8::/32",
        "3fff::/20",
    )
)

_WRAPPERS = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (IPv6Network("::/96"), 0),  # IPv4-compatible
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)
"""Networks whose addresses lead to the IPv4 address inside them, and how many bits stand behind it."""


def is_open(address: str | Address, opened: Sequence[Network] = ()) -> bool:
    """Whether a message may be sent to an address; `opened` are networks that an operator allows besides.

    An IPv6 address that wraps an IPv4 one is judged by that, because that is where the packets go.
    """
    address = ip_address(address) if isinstance(address, str) else address
    if any(address in network for network in opened):
        return True
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    wrapped = _wrapped(address)
    if wrapped is not None:
        return is_open(wrapped, opened)
    return address in _UNICAST_V6 and not any(address in network for network in _CLOSED_V6)


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    for network, bits_behind in _WRAPPERS:
        if address in network:
            return IPv4Address(int(address) >> bits_behind & 0xFFFF_FFFF)
    return None
